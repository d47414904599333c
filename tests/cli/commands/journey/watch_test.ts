/**
 * What `grow` shows of a move that waits for `--release`.
 *
 * @module
 */

import assert from "node:assert/strict";
import { connect } from "@nats-io/transport-node";
import { answerJourney, type JourneyState } from "../../../../cli/cluster/journey.ts";
import { Journeys, NEW } from "../../../../cli/serve/journey/journeys.ts";
import type { World } from "../../../../cli/serve/journey/types.ts";
import { writeNode } from "../../../../cli/settings/node.ts";
import { createNkey } from "../../../../src/keys/nkey.ts";
import { testServer } from "../../../helpers/nats.ts";
import { inDir } from "../../../helpers/sqlite.ts";
import { until } from "../../serve/kit.ts";
import { cli, documentOf } from "../../kit.ts";

const NONE: JourneyState = { serves: "file", ...NEW };

const NODE = {
  name: "n1",
  cluster: "bus",
  plan: "feedfeedfeedfeed",
  state: "planned",
  settings: {},
  alone: {},
} as const;

Deno.test("who watches a move that was begun with --hold is told what releases it", () =>
  inDir(async (dir) => {
    await using server = await testServer({ jetstream: false });
    const connection = await connect({ servers: server.url });
    const ways = {
      grow: (_: World, trip: { released(): Promise<void> }) => trip.released(),
      shrink: () => Promise.resolve(),
      callOff: () => Promise.resolve(),
    };
    const around = { log: () => {} };
    const journeys = new Journeys({ around, storage: { bucket: null } } as unknown as World, ways);
    try {
      answerJourney(connection, () => Promise.resolve("n1"), (it) => journeys.handle(it));
      await writeNode(`${dir}/a.db`, NODE);
      const env = { UNIBUS_DB: `${dir}/a.db`, UNIBUS_NATS_URL: server.url };
      const held = await cli(["grow", "--hold"], { env });
      assert.equal(held.code, 0, held.stderr);
      assert.match(held.stderr, /^ready: membershipd grow --release makes the switch$/m);

      let shown = "";
      const watching = cli(["grow", "--json"], { env, onStderr: (text) => shown += text });
      const told = "hold (until membershipd grow --release) ...";
      await until(() => shown.includes(told), `the line ${told}`);
      assert.equal(journeys.status().phase, "hold");
      const released = await cli(["grow", "--release"], { env });
      assert.equal(released.code, 0, released.stderr);
      assert.equal(documentOf(await watching).state, "done");
      assert.equal((await cli(["grow", "--release"], { env })).code, 1);
    } finally {
      await journeys.stop();
      await connection.close();
    }
  }));

Deno.test("calling off is watched until the move has ended; Ctrl-C ends the watching, and says what watches again", () =>
  inDir(async (dir) => {
    await using server = await testServer({ jetstream: false });
    const connection = await connect({ servers: server.url });
    const states = ["running", "running", "called-off", "running", "done"] as const;
    let asked = 0;
    let released = false;
    answerJourney(connection, () => Promise.resolve("n1"), ({ op, direction }) => {
      released ||= op === "release";
      const state = released ? "running" : states[asked++] ?? "failed";
      assert.ok(op === "status" || direction === (released ? "shrink" : "grow"));
      return Promise.resolve({ ...NONE, direction: released ? "shrink" : "grow", state });
    });
    try {
      await writeNode(`${dir}/a.db`, NODE);
      const env = { UNIBUS_DB: `${dir}/a.db`, UNIBUS_NATS_URL: server.url };
      const { code, stdout, stderr } = await cli(["grow", "--call-off"], { env });
      assert.equal(code, 0, stderr);
      assert.equal(stdout, "grow: called-off\nn1 serves from its file\n");
      // It was made before it could be called off; it failed.
      for (let i = 0; i < 2; i++) {
        assert.equal((await cli(["grow", "--call-off"], { env })).code, 1);
      }

      const ending = new AbortController();
      const { signal } = ending;
      const onStderr = () => ending.abort();
      const watched = await cli(["shrink", "--release"], { env, signal, onStderr });
      assert.equal(watched.code, 130);
      assert.match(watched.stderr, /^hint: .* membershipd shrink --keep n1 watches it again$/m);
    } finally {
      await connection.close();
    }
  }));

Deno.test("a server that is not the one of the settings: the hint names what grow and shrink have", () =>
  inDir(async (dir) => {
    const users = [{ nkey: createNkey("user").publicKey }];
    await using server = await testServer({ jetstream: false, accounts: { A: { users } } });
    await writeNode(`${dir}/a.db`, NODE);
    const env = { UNIBUS_DB: `${dir}/a.db`, UNIBUS_NATS_URL: server.url };
    for (const args of [["grow"], ["shrink", "--keep", "n1"], ["grow", "--status"]]) {
      const { code, stderr } = await cli(args, { env });
      assert.equal(code, 1);
      assert.match(
        stderr,
        /^error: Asking the server of node n1 \(.*\/node\.json\): Connect to nats:/,
      );
      assert.match(
        stderr,
        /^hint: another server uses this address.* with --config or UNIBUS_CONFIG$/m,
      );
    }
  }));
