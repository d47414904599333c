/**
 * What `grow` shows of a move that waits for `--release`.
 *
 * @module
 */

import assert from "node:assert/strict";
import { connect } from "@nats-io/transport-node";
import { answerJourney } from "../../../../cli/cluster/journey.ts";
import { Journeys } from "../../../../cli/serve/journey/journeys.ts";
import type { World } from "../../../../cli/serve/journey/types.ts";
import { writeNode } from "../../../../cli/settings/node.ts";
import { testServer } from "../../../helpers/nats.ts";
import { inDir } from "../../../helpers/sqlite.ts";
import { until } from "../../serve/kit.ts";
import { cli, documentOf } from "../../kit.ts";

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
      await writeNode(`${dir}/a.db`, {
        name: "n1",
        cluster: "bus",
        plan: "feedfeedfeedfeed",
        state: "planned",
        settings: {},
        alone: {},
      });
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
