import assert from "node:assert/strict";
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import {
  clusterDirectory,
  type NodeContents,
  nodePath,
  type NodeState,
  readNode,
  writeNode,
} from "../../../cli/settings/node.ts";
import { resolveHere } from "../../../cli/settings/resolve.ts";
import { problemsOf, warningsOf } from "../../../cli/settings/guards.ts";
import { placed } from "../../../cli/store/placed.ts";
import { openSqlite } from "../../../mod.ts";
import { setRole } from "../../../src/sqlite/file/role.ts";
import { connect } from "../../../src/sqlite/file/connect.ts";
import { cli } from "../kit.ts";
import { inDir } from "../../helpers/sqlite.ts";

/** A node file as `cluster plan` writes it for n1. */
function contents(dir: string, state: NodeState = "clustered"): NodeContents {
  return {
    name: "n1",
    cluster: "bus",
    plan: "0123456789abcdef",
    state,
    settings: {
      store: "jetstream",
      replicas: 3,
      busAuth: "enforce",
      httpPort: 8600,
      natsStore: `${dir}/jetstream.cluster`,
      clusterName: "bus",
      serverName: "n1",
      clusterPort: 6260,
      routes: ["127.0.0.2:6260", "127.0.0.3:6260"],
      clusterUser: "route",
      clusterPassFile: `${dir}/cluster/route.secret`,
      routeTlsCert: `${dir}/cluster/route.pem`,
      routeTlsKey: `${dir}/cluster/route.key`,
      routeTlsCa: `${dir}/cluster/route-ca.pem`,
    },
    alone: { natsStore: `${dir}/jetstream` },
  };
}

const given = (
  dir: string,
  flags: Record<string, string> = {},
  env: Record<string, string> = {},
  values: Record<string, unknown> | null = null,
) => ({
  flags: { db: `${dir}/a.db`, ...flags },
  env,
  file: values === null ? null : { path: "m.toml", values },
});

/** The message of settings that contradict the node file. */
async function refused(it: ReturnType<typeof given>): Promise<string> {
  let message = "";
  await assert.rejects(resolveHere(it), (error: Error) => {
    message = error.message;
    return error.name === "UsageError";
  });
  return message;
}

Deno.test("a node file is private, written whole, and its directory can be moved", () =>
  inDir(async (dir) => {
    const db = `${dir}/a.db`;
    assert.equal(await readNode(db), null);
    await writeNode(db, contents(dir));
    await writeNode(db, contents(dir));
    assert.equal(nodePath(db), `${dir}/node.json`);
    assert.equal(clusterDirectory(db), `${dir}/cluster`);
    assert.equal(statSync(`${dir}/node.json`).mode & 0o777, 0o600);
    assert.deepEqual(await readNode(db), { ...contents(dir), path: `${dir}/node.json` });
    const text = readFileSync(`${dir}/node.json`, "utf8");
    assert.ok(!text.includes(dir), text);
    assert.equal(JSON.parse(text).version, 1);
  }));

Deno.test("a node file that others can change, is damaged or newer is refused", () =>
  inDir(async (dir) => {
    const db = `${dir}/a.db`;
    const reads = (text: string) => {
      writeFileSync(`${dir}/node.json`, text, { mode: 0o600 });
      return readNode(db);
    };
    await assert.rejects(reads("{"), /node\.json: is damaged; restore it from a backup/);
    await assert.rejects(reads('"a"'), /is damaged/);
    await assert.rejects(reads('{"version":2}'), /has version 2, this program supports 1/);
    const { settings: _, ...half } = contents(dir);
    await assert.rejects(reads(JSON.stringify({ version: 1, ...half })), /is damaged/);
    const { version: _v, ...unversioned } = { version: 1, ...contents(dir) };
    await assert.rejects(reads(JSON.stringify(unversioned)), /is damaged/);
    await assert.rejects(
      reads(JSON.stringify({ version: 1, ...contents(dir), name: 5 })),
      /is damaged/,
    );
    const other = { version: 1, ...contents(dir), state: "lost" };
    await assert.rejects(reads(JSON.stringify(other)), /is damaged/);
    await writeNode(db, contents(dir));
    chmodSync(`${dir}/node.json`, 0o620);
    await assert.rejects(readNode(db), /other users of this machine can change it; chmod 600/);
    mkdirSync(`${dir}/x/node.json`, { recursive: true });
    await assert.rejects(readNode(`${dir}/x/a.db`), /x\/node\.json: cannot be read \(EISDIR\)/);
    assert.equal(await readNode(`${dir}/node.json/a.db`), null);
    // Commands say so too.
    const { code, stderr } = await cli(["user", "list"], { env: { UNIBUS_DB: db } });
    assert.deepEqual([code, /can change it; chmod 600/.test(stderr)], [2, true]);
  }));

Deno.test("a node's settings come before the defaults and after everything else, only when clustered", () =>
  inDir(async (dir) => {
    for (const state of ["planned", "alone"] as const) {
      await writeNode(`${dir}/a.db`, contents(dir, state));
      const { settings, sources, node } = await resolveHere(given(dir));
      assert.deepEqual([settings.store, settings.httpPort], ["sqlite", 8470]);
      assert.deepEqual([sources.store, node?.state], ["default", state]);
    }
    await writeNode(`${dir}/a.db`, contents(dir));
    const found = await resolveHere(given(dir));
    const { settings, sources } = found;
    assert.deepEqual(problemsOf(settings), []);
    assert.deepEqual([settings.store, settings.httpPort], ["jetstream", 8600]);
    assert.deepEqual(settings.routes, ["127.0.0.2:6260", "127.0.0.3:6260"]);
    assert.equal(settings.clusterPassFile, `${dir}/cluster/route.secret`);
    assert.deepEqual([sources.store, sources.natsPort], ["node", "default"]);
    const port = async (...it: Parameters<typeof given> extends [string, ...infer R] ? R : never) =>
      (await resolveHere(given(dir, ...it))).settings.httpPort;
    assert.equal(await port({}, {}, { httpPort: 1 }), 1);
    assert.equal(await port({}, { UNIBUS_HTTP_PORT: "2" }, { httpPort: 1 }), 2);
    assert.equal(await port({ httpPort: "3" }, { UNIBUS_HTTP_PORT: "2" }), 3);
    for (const [follower, found] of [["none", "none"], ["f.db", `${dir}/f.db`]] as const) {
      const settings = { ...contents(dir).settings, follower };
      await writeNode(`${dir}/a.db`, { ...contents(dir), settings });
      assert.equal((await resolveHere(given(dir))).settings.follower, found);
    }
    await writeNode(`${dir}/a.db`, { ...contents(dir), settings: { bnd: "127.0.0.1" } });
    assert.match(await refused(given(dir)), /node\.json: unknown setting "bnd"; did you mean bind/);
  }));

Deno.test("what contradicts the node file is refused; what the machine had alone is replaced", () =>
  inDir(async (dir) => {
    await writeNode(`${dir}/a.db`, contents(dir));
    const store = await refused(given(dir, { store: "sqlite" }));
    assert.match(
      store,
      /^--store is "sqlite", but this machine is node n1 of cluster bus, whose store is "jetstream"/,
    );
    assert.match(store, /node\.json\); remove --store, or use another --db$/);
    const { message } = await resolveHere(given(dir, {}, {
      UNIBUS_SERVER_NAME: "n2",
      UNIBUS_CLUSTER_PASS: "hunter2",
    }, { natsUrl: "nats://a:1" })).then(() => ({ message: "" }), (error: Error) => error);
    assert.match(message, /^error: UNIBUS_SERVER_NAME is "n2", but/m);
    assert.match(message, /^error: UNIBUS_CLUSTER_PASS is another route secret, but/m);
    assert.match(message, /^natsUrl in the --config file is \["nats:\/\/a:1"\], but/m);
    assert.ok(!message.includes("hunter2"));

    const alone = await resolveHere(given(dir, {}, { UNIBUS_NATS_STORE: `${dir}/x/../jetstream` }));
    assert.equal(alone.settings.natsStore, `${dir}/jetstream.cluster`);
    assert.equal(alone.sources.natsStore, "node");
    // The node's own value is no contradiction.
    const same = await resolveHere(given(dir, { store: "jetstream", clusterPort: "6260" }));
    assert.equal(same.sources.store, "flag");
    assert.match(await refused(given(dir, { natsStore: "x" })), /--nats-store is "x", but/);
  }));

Deno.test("a clustered node serves its file until that has moved", () =>
  inDir(async (dir) => {
    const db = `${dir}/a.db`;
    await writeNode(db, contents(dir));
    const now = async () => {
      const found = await placed(await resolveHere(given(dir)));
      assert.deepEqual(problemsOf(found.settings), []);
      assert.deepEqual(warningsOf(found), []);
      return found.settings.store;
    };
    assert.equal(await now(), "jetstream");
    await openSqlite(db).close();
    assert.equal(await now(), "sqlite");
    // Commands use it as the server does.
    const env = { UNIBUS_DB: db };
    const { code, stderr } = await cli(["user", "list", "--json"], { env });
    assert.equal(code, 0, stderr);
    const file = connect(db, { busyTimeout: 5000, readOnly: false });
    setRole(file, "moved", { bucket: "UNIBUS", servers: [], at: "2026-01-01T00:00:00.000Z" });
    file.close();
    assert.equal(await now(), "jetstream");
  }));
