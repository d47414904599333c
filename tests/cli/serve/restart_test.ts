/** A server that a command tells to restart. */

import { lockStore } from "../../../cli/serve/lock.ts";
import { manage } from "../../../cli/serve/managed.ts";
import { Undo } from "../../../cli/serve/undo.ts";
import { resolve } from "../../../cli/settings/resolve.ts";
import { setAside } from "../../../src/move/steps.ts";
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { restartNode, stateOf } from "../../../cli/cluster/restarts.ts";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { loadServiceKeys } from "../../../src/nats/mod.ts";
import { answerRequests } from "../../../cli/serve/node/restarts.ts";
import { freePorts, testServer } from "../../helpers/nats.ts";
import { inDir } from "../../helpers/sqlite.ts";
import { type Daemon, daemon, readyz, until } from "./kit.ts";

const ENFORCE = ["--bus-auth", "enforce", "--server-name", "n1"];

async function service(it: Daemon, dir: string) {
  const { service } = await loadServiceKeys(`${dir}/service-keys.json`);
  return await connectNats({ servers: it.nats, nkeySeed: service.seed, bootstrapTimeout: 60_000 });
}

Deno.test("a server restarts in place, with its settings read again, and says that it is another run", () =>
  inDir(async (dir) => {
    const config = `${dir}/a.toml`;
    await writeFile(config, 'logFormat = "json"\n');
    // The connection finds the server again by its port.
    const [port] = await freePorts(1);
    const args = [...ENFORCE, "--nats-port", String(port), "--config", config];
    await using it = await daemon(dir, args);
    const connection = await service(it, dir);
    try {
      let state: Awaited<ReturnType<typeof stateOf>> = null;
      await until(async () => {
        state = await stateOf(connection, "n1");
        return state?.ready === true;
      }, "the state of a ready node");
      const { run, ...rest } = state!;
      assert.deepEqual(rest, { ready: true, failing: [], follows: false, digests: {} });
      assert.equal(await stateOf(connection, "n2"), null);
      await writeFile(config, "maxRoomsPerOwner = 7\n");
      assert.deepEqual(await restartNode(connection, "n1", false), { way: "in place" });
      const ready = () => it.events().filter(({ event }) => event === "ready").length;
      await until(() => ready() === 2, "second start");
      assert.equal(
        it.events().find(({ event }) => event === "stopping")?.reason,
        "cluster restart",
      );
      let after = await stateOf(connection, "n1");
      await until(async () => (after = await stateOf(connection, "n1")) !== null, "answer");
      assert.notEqual(after!.run, run);
    } finally {
      await connection.close();
    }
  }));

Deno.test("a server answers under the name that its node has now, and no other", async () => {
  await using server = await testServer({ jetstream: false });
  const connection = await connectNats({ servers: server.url });
  try {
    let name: string | null = "NDA";
    const shown = { follower: null, waiting: "joined" };
    answerRequests(connection, () => name, () => shown, () => "in place");
    assert.equal((await stateOf(connection, "NDA"))?.ready, false);
    name = "n1";
    const changes = connection.status()[Symbol.asyncIterator]();
    await connection.reconnect();
    while ((await changes.next()).value?.type !== "reconnect");
    await until(async () => await stateOf(connection, "n1") !== null, "answer of n1");
    assert.equal(await stateOf(connection, "NDA"), null);
    assert.deepEqual(await restartNode(connection, "n1", false), { way: "in place" });
  } finally {
    await connection.close();
  }
});

Deno.test("settings that are wrong at a restart end the server, as at a start", () =>
  inDir(async (dir) => {
    const config = `${dir}/a.toml`;
    await writeFile(config, "");
    await using it = await daemon(dir, [...ENFORCE, "--config", config]);
    const connection = await service(it, dir);
    try {
      await writeFile(config, "maxRoomsPerOwner = -1\n");
      await restartNode(connection, "n1", false);
      const { code, stderr } = await it.process.ended;
      assert.equal(code, 2);
      assert.match(stderr, /maxRoomsPerOwner/);
    } finally {
      await connection.close();
    }
  }));

Deno.test("a server that is told so exits with code 75 to be started again", () =>
  inDir(async (dir) => {
    await using it = await daemon(dir, ENFORCE);
    const connection = await service(it, dir);
    try {
      assert.deepEqual(await restartNode(connection, "n1", true), { way: "exit" });
      assert.equal((await it.process.ended).code, 75);
    } finally {
      await connection.close();
    }
    assert.equal(await readyz(it.http), null);
  }));

Deno.test("a directory that was set aside is locked again when another takes its place", () =>
  inDir(async (dir) => {
    const flags = { db: `${dir}/a.db`, natsStore: `${dir}/js`, natsPort: "0" };
    const { settings } = resolve({ flags, env: {}, file: null });
    const { signal } = new AbortController();
    const warnings: string[] = [];
    const log = (level: string, event: string) => void (level === "warn" && warnings.push(event));
    const undo = new Undo();
    try {
      const managed = await manage({
        ...{ settings, clusterPass: null, debug: false, signal, log, undo },
        origins: () => [],
        env: Deno.env.toObject(),
      });
      const alone = { settings, clusterPass: null };
      const clustered = {
        settings: { ...settings, natsStore: `${dir}/js.cluster` },
        clusterPass: null,
      };
      const change = (to: typeof alone) => managed.change(to, () => Promise.resolve());
      await change(clustered);
      await change(alone);
      assert.ok(await setAside(`${dir}/js.cluster`));
      await change(clustered);
      await assert.rejects(lockStore(`${dir}/js.cluster`, { signal, log }), { code: "refused" });
      assert.deepEqual(warnings, []);
    } finally {
      await undo.end(log);
    }
  }));
