/**
 * A server that moves from its bucket into files of its node, and leaves the cluster: its own parts in one
 * process, on one nats-server; only the restart of that is not made.
 *
 * @module
 */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import type { Msg, NatsConnection } from "@nats-io/transport-node";
import { answerPresence } from "../../../../cli/cluster/presence.ts";
import type { Bus } from "../../../../cli/serve/bus.ts";
import { callOff } from "../../../../cli/serve/journey/call_off.ts";
import { enterCluster, whenOthersLeft } from "../../../../cli/serve/journey/cluster.ts";
import { Journeys } from "../../../../cli/serve/journey/journeys.ts";
import { shrink } from "../../../../cli/serve/journey/shrink.ts";
import { resume } from "../../../../cli/serve/journey/start/resume.ts";
import type { Trip, World } from "../../../../cli/serve/journey/types.ts";
import { openInObjects } from "../../../../cli/serve/storage/storage.ts";
import { type NodeState, readNode, writeNode } from "../../../../cli/settings/node.ts";
import type { Settings } from "../../../../cli/settings/settings.ts";
import type { BlobStore } from "../../../../src/blobs/mod.ts";
import { freezeObjectBlobs, thawObjectBlobs } from "../../../../src/blobs/objects/freeze.ts";
import { SwitchingBlobs } from "../../../../src/blobs/switch/switching.ts";
import { StoreError } from "../../../../src/core/errors.ts";
import { openSqlite } from "../../../../src/sqlite/mod.ts";
import { JourneyFile, journeyOf } from "../../../../src/sqlite/file/journey/file.ts";
import { roleOf } from "../../../../src/sqlite/file/role.ts";
import { openFollowed } from "../../../../src/follower/open.ts";
import { freezeWriters } from "../../../../src/jetstream/freeze.ts";
import { Bucket } from "../../../../src/jetstream/log/bucket.ts";
import { readMarker, writeMarker } from "../../../../src/jetstream/log/marker.ts";
import { connectNats } from "../../../../src/nats/connection/connect.ts";
import { bodyOf, bytesOf, idOf } from "../../../blobs/kit.ts";
import { owner, putBy } from "../../../blobs/holders.ts";
import { interposed } from "../../../helpers/interposed.ts";
import { type TestServer, testServer } from "../../../helpers/nats.ts";
import { failsWith, inDir, person } from "../../../helpers/sqlite.ts";

let server: TestServer;
let buckets = 0;
Deno.test.beforeAll(async () => void (server = await testServer({ serverName: "n1" })));
Deno.test.afterAll(async () => await server[Symbol.asyncDispose]());

const soon = () => Date.now() + 60_000;
const ada = person("ada");
const by = owner();

/** The connection, as one to a server in a cluster. */
function clustered(nc: NatsConnection): NatsConnection {
  return new Proxy(nc, {
    get(target, name) {
      const found = Reflect.get(target, name);
      if (name === "info") return { ...found, cluster: "bus" };
      return typeof found === "function" ? found.bind(target) : found;
    },
  });
}

/** The connection, whose server refuses once to tell of a stream. */
function refusing(nc: NatsConnection, stream: string): NatsConnection {
  const answer = { error: { code: 500, err_code: 10000, description: "refused" } };
  const data = new TextEncoder().encode(JSON.stringify(answer));
  return interposed(nc, (_, subject) => subject === `$JS.API.STREAM.INFO.${stream}`, {
    instead: () => Promise.resolve({ data, json: () => answer } as Msg),
  });
}

/** A node that serves a bucket, and what its journey shows. */
interface Bed {
  world: World;
  trip: Trip;
  /** What the tests change of a trip. */
  on: { begin: (phase: string) => void; released: () => Promise<void> };
  retries: (string | null)[];
  logged: string[];
  /** The settings that its nats-server was restarted with. */
  changes: NodeState[];
  /** Ends the journey. */
  abort: AbortController;
  /** The blobs as another node has them. */
  other: BlobStore;
  bucket: Bucket;
  /** Whether a blob is on the disk of the node. */
  isOnDisk: (id: string) => boolean;
}

function test(
  name: string,
  work: (at: Bed) => Promise<void>,
  /** What happens right before the mark is written that the control plane has left. */
  beforeMark?: (at: Pick<Bed, "bucket" | "other">) => Promise<unknown>,
) {
  Deno.test(name, () =>
    inDir(async (dir) => {
      await using stack = new AsyncDisposableStack();
      const nc = await connectNats({ servers: server.url }) as NatsConnection;
      stack.defer(() => nc.close());
      const name = `HOME_${++buckets}`;
      const bucket = new Bucket(nc, name);
      const settings = {
        db: `${dir}/a.db`,
        storeDir: `${dir}/blobs`,
        diskReserve: 0,
        bucket: name,
      } as Settings;
      const changes: NodeState[] = [];
      const bus = {
        connection: clustered(nc),
        node: "n1",
        fileStore: Infinity,
        change: async ({ settings }: { settings: { state: NodeState } }, commit: () => unknown) => {
          await commit();
          changes.push(settings.state);
        },
      } as unknown as Bus;
      const signal = new AbortController().signal;
      const openBlobs = () => openInObjects(bus, settings, name, 1, signal);
      const other = stack.use(await openBlobs());
      const at: Partial<Bed> = { bucket, other };
      const connection = interposed(nc, (text) => text.includes('"moved":'), {
        before: async () => await beforeMark?.(at as Bed),
      });
      const { store, follower } = await openFollowed({
        ...{ connection, bucket: name, follower: `${dir}/follower.db` },
        // Nothing is called off because the machine is busy.
        ...{ maxStaleness: 60_000, opTimeout: 60_000 },
      });
      stack.use(store);
      await store.addUser({ ...ada, role: "admin" });
      await writeNode(settings.db, {
        ...{ name: "n1", cluster: "bus", plan: "feedfeedfeedfeed", state: "clustered" },
        ...{ settings: {}, alone: {} },
      });
      const blobs = stack.use(new SwitchingBlobs(await openBlobs()));
      const logged: string[] = [];
      const world = {
        around: { settings, signal, log: (_: string, event: string) => void logged.push(event) },
        bus,
        storage: { store, follower, bucket: name, blobs },
        settingsIn: (state: NodeState) =>
          Promise.resolve({ settings: { ...settings, state }, clusterPass: null }),
      } as unknown as World;
      const abort = new AbortController();
      const on: Bed["on"] = { begin: () => {}, released: () => Promise.resolve() };
      const retries: Bed["retries"] = [];
      const trip: Trip = {
        request: { op: "shrink", keep: "n1" },
        signal: abort.signal,
        begin: (phase) => on.begin(phase),
        tell: ({ retry }) => void (retry === undefined || retries.push(retry)),
        find: () => {},
        released: () => on.released(),
      };
      const isOnDisk = (id: string) =>
        existsSync(`${settings.storeDir}/${id.slice(0, 2)}/${id.slice(2, 4)}/${id}`);
      await work(Object.assign(at, {
        ...{ world, trip, on, retries, logged, changes, abort, isOnDisk },
      }) as Bed);
    }));
}

/** Requires that records and blobs can be written. */
async function requireWritable({ world: { storage }, other }: Bed): Promise<void> {
  await storage.store.addUser(person(crypto.randomUUID()));
  for (const blobs of [storage.blobs, other]) await putBy(blobs, bytesOf(50), by);
}

const late = bytesOf(700);

test(
  "the blobs that other nodes change while a move waits, and at its switch, are on the disk",
  async (at) => {
    const { world, trip, on, other, isOnDisk } = at;
    const { storage, around } = world;
    const [kept, deleted, waited] = [bytesOf(1000), bytesOf(300_000), bytesOf(500)];
    for (const it of [kept, deleted]) await putBy(storage.blobs, it, by);
    const [during, copied] = [bytesOf(600), [] as string[]];
    const { mirror } = SwitchingBlobs.prototype;
    storage.blobs.mirror = (to) => {
      const made = mirror.call(storage.blobs, to);
      const { all, sync } = made;
      made.all = async (options) => {
        const report = await all.call(made, options);
        await putBy(other, during, by);
        return report;
      };
      made.sync = (id, signal) => {
        copied.push(id);
        return sync.call(made, id, signal);
      };
      return made;
    };
    on.released = async () => {
      await putBy(other, waited, by);
      await other.delete(idOf(deleted), by);
    };
    const phases = new Set<string>();
    let asked = 0;
    answerPresence(at.bucket.nc, () => {
      asked++;
      return Promise.resolve({ node: "n1", bucket: null, keys: null });
    });
    let isReady = false;
    on.begin = (phase) => {
      // Before anything waits for it.
      if (phase === "switch" && !phases.has(phase)) {
        isReady = isOnDisk(idOf(waited)) && !isOnDisk(idOf(deleted));
      }
      phases.add(phase);
    };
    await shrink(world, { ...trip, request: { ...trip.request, by: "cli:ada" } });
    assert.ok(isReady);
    assert.ok(asked > 0);
    assert.deepEqual([...phases], ["preflight", "blobs", "switch", "finish", "nats"]);
    assert.deepEqual([storage.bucket, storage.follower, storage.store.backend], [
      null,
      null,
      "sqlite",
    ]);
    const { items } = await storage.store.history();
    assert.equal(items.find((it) => it.action === "store.moved")!.by, "cli:ada");
    assert.deepEqual(at.changes, ["alone"]);
    assert.equal((await readNode(around.settings.db))!.state, "alone");
    for (const it of [kept, during, waited, late]) {
      // What was copied before is not looked at again while all waits for it.
      assert.equal(copied.filter((id) => id === idOf(it)).length, 1);
      assert.deepEqual(await bodyOf(await storage.blobs.get(idOf(it))), Uint8Array.from(it));
      assert.ok(isOnDisk(idOf(it)));
    }
    assert.equal(await storage.blobs.stat(idOf(deleted)), null);
    const { id } = await putBy(storage.blobs, bytesOf(10), by);
    assert.ok(isOnDisk(id));
    assert.equal(await other.stat(id), null);
    const refused = () =>
      failsWith("unavailable", () => putBy(other, bytesOf(10), by), /takes no blobs/);
    await refused();
    {
      // It has left for good.
      using _ = longAfter();
      for (let i = 0; i < 2; i++) await refused();
    }
    await failsWith("refused", () => shrink(world, trip), /serves from a file already/);
    // As after a kill before it had left the cluster.
    await writeNode(around.settings.db, {
      ...(await readNode(around.settings.db))!,
      state: "clustered",
    });
    const journeys = new Journeys(world, { grow: shrink, shrink, callOff });
    await resume(world, journeys);
    const { direction, state, error } = journeys.status();
    assert.deepEqual([direction, state, error], ["shrink", "done", null]);
    assert.deepEqual(at.changes, ["alone", "alone"]);
  },
  // As from a server that learns late that it takes no blobs.
  async ({ bucket: { nc, name }, other }) => {
    const place = { connection: nc, bucket: `${name}_BLOBS` };
    await thawObjectBlobs(place);
    await putBy(other, late, by);
    await freezeObjectBlobs(place);
  },
);

test("what another node stores right before the switch comes along; a switch that is called off is said once", async (at) => {
  const { world, trip, on, other, isOnDisk, logged, retries } = at;
  const { storage: { blobs } } = world;
  await putBy(blobs, bytesOf(100), by);
  const hold = blobs.hold.bind(blobs);
  let holds = 0;
  const last = bytesOf(800);
  blobs.hold = async () => {
    holds++;
    await hold();
    if (holds === 2) await putBy(other, last, by);
    if (holds > 1) return;
    await freezeObjectBlobs({
      connection: at.bucket.nc,
      bucket: `${at.bucket.name}_BLOBS`,
    });
    throw new StoreError("unavailable", "Not now");
  };
  on.released = async () => {
    if (holds > 0) await requireWritable(at);
  };
  let isThere: boolean | undefined;
  on.begin = (phase) => {
    // Before the mark was written: a start after a kill has only these.
    if (phase === "finish") isThere ??= isOnDisk(idOf(last));
  };
  await shrink(world, trip);
  assert.ok(holds >= 2);
  assert.equal(isThere, true);
  await failsWith("unavailable", () => putBy(other, bytesOf(10), by), /takes no blobs/);
  const reasons = retries.filter((it, i) => it !== null && it !== retries[i - 1]);
  assert.match(reasons[0]!, /the switch was called off/);
  assert.ok(retries.length > reasons.length + 1);
  assert.deepEqual(logged, reasons.map(() => "shrink.again"));
});

test("a move that ends before its switch leaves all as it was, and copies no more blobs", async (at) => {
  const { world, trip, on, abort, isOnDisk } = at;
  const { storage, around } = world;
  const { id } = await putBy(storage.blobs, bytesOf(100), by);
  for (
    const [changed, expected] of [
      [{ keep: "n2" }, /run on|Shrinking to n2 was asked of node n1/],
      [{ follower: null }, /keeps no second copy/],
    ] as const
  ) {
    const { follower } = storage;
    if ("follower" in changed) storage.follower = null;
    const request = { ...trip.request, ...changed };
    await failsWith("refused", () => shrink(world, { ...trip, request }), expected);
    storage.follower = follower;
  }
  await shrink(world, { ...trip, request: { ...trip.request, dryRun: true } });
  assert.deepEqual([existsSync(around.settings.storeDir), storage.bucket], [false, at.bucket.name]);

  on.released = () => Promise.reject(new StoreError("unavailable", "No majority"));
  await assert.rejects(shrink(world, trip), (error: StoreError) => {
    assert.match(error.hint!, /shrink --keep n1 --force --dry-run/);
    return error.code === "unavailable";
  });
  assert.ok(isOnDisk(id));
  assert.equal(isOnDisk((await putBy(storage.blobs, bytesOf(100), by)).id), false);

  on.released = () => Promise.resolve();
  on.begin = (phase) => phase === "switch" && abort.abort("call-off");
  await failsWith("aborted", () => shrink(world, trip));
  await rm((await readNode(around.settings.db))!.path);
  await failsWith("refused", () => shrink(world, trip), /There is no plan of a cluster beside/);
  assert.deepEqual([at.changes, storage.bucket], [[], at.bucket.name]);
  await requireWritable(at);
});

/** Lets the time be so much later that a move counts as abandoned. */
function longAfter(): Disposable {
  const { now } = performance;
  performance.now = () => now.call(performance) + 16_000;
  return { [Symbol.dispose]: () => void (performance.now = now) };
}

/** Begins a move to a node, as a process does that is killed when all writers are stopped. */
async function beginAndStop({ bucket }: Bed): Promise<void> {
  const { marker, revision } = await readMarker(bucket, soon());
  const shrink = { journey: "0".repeat(32), node: "n9", at: "now" };
  const mark = { state: "complete", by: "journey", source: null, startedAt: "now" } as const;
  await writeMarker(bucket, { ...mark, ...marker, shrink }, revision, soon());
  await freezeWriters(bucket, soon());
  await freezeObjectBlobs({ connection: bucket.nc, bucket: `${bucket.name}_BLOBS` });
}

test("a move of another node that was killed is called off: records and blobs can be written", async (at) => {
  await beginAndStop(at);
  await callOff(at.world, at.trip);
  assert.equal((await readMarker(at.bucket, soon())).marker!.shrink, undefined);
  await requireWritable(at);
  assert.deepEqual(at.changes, []);
});

test("a move into the cluster is called off: the file serves as before, without a bucket only by force", async (at) => {
  const { world, trip, bucket, changes } = at;
  const { storage, around } = world;
  const { db } = around.settings;
  await storage.store.close();
  openSqlite(db).close();
  storage.bucket = null;
  const servers = [server.url];
  const begin = async (name: string, isFrozen: boolean) => {
    Object.assign(around.settings, { bucket: name });
    using file = new JourneyFile(db);
    const journey = await file.begin({ bucket: name, servers });
    if (isFrozen) await file.freeze(journey, 60_000);
    return { journey: journey.id, source: file.storeId };
  };
  const isOver = () => {
    assert.equal(journeyOf(db), null);
    assert.equal(roleOf(db).frozenAt, null);
    assert.deepEqual(changes.splice(0), ["planned"]);
  };
  const begun = await begin(bucket.name, false);
  const mark = { ...begun, state: "in_progress", by: "journey", startedAt: "now" } as const;
  await writeMarker(bucket, mark, 0, soon());
  await callOff(world, trip);
  isOver();
  assert.ok((await readMarker(bucket, soon())).marker!.calledOff !== undefined);
  await begin("GONE", false);
  await callOff(world, trip);
  isOver();
  await begin("GONE", true);
  await failsWith("not_found", () => callOff(world, trip), /bucket GONE does not exist/);
  assert.deepEqual(changes, []);
  await callOff(world, { ...trip, request: { op: "call-off", force: true } });
  isOver();

  // No majority answers.
  await begin(bucket.name, false);
  const withoutMajority = () => {
    const connection = clustered(refusing(bucket.nc, `KV_${bucket.name}`));
    return { ...world, bus: { ...world.bus, connection } };
  };
  await assert.rejects(callOff(withoutMajority(), trip), (error: StoreError) => {
    assert.match(error.hint!, /^start the other nodes: .*--call-off --force/);
    return error.code === "unavailable";
  });
  assert.notEqual(journeyOf(db), null);
  const natsStore = `${db}.streams`;
  Object.assign(around.settings, { natsStore });
  await mkdir(natsStore);
  await callOff(withoutMajority(), { ...trip, request: { op: "call-off", force: true } });
  isOver();
  assert.equal(existsSync(natsStore), false);

  await using alone = await testServer({ jetstream: false });
  const connection = await connectNats({ servers: alone.url }) as NatsConnection;
  await callOff({ ...world, bus: { ...world.bus, connection } }, trip);
  await connection.close();
  assert.deepEqual(changes, []);
});

test("blobs can be stored again when the node is gone that moved them, without a word", async (at) => {
  const { other, bucket } = at;
  await beginAndStop(at);
  const refused = () => failsWith("unavailable", () => putBy(other, bytesOf(10), by));
  await refused();
  using _ = longAfter();
  // That one has found it, and the next one is stored.
  await refused();
  await putBy(other, bytesOf(10), by);
  assert.equal((await readMarker(bucket, soon())).marker!.shrink, undefined);
  await requireWritable(at);
});

test("a node leaves when the others have seen that the control plane has gone", async (at) => {
  const { world, bucket } = at;
  let serves: string | null = bucket.name;
  let asked = 0;
  answerPresence(bucket.nc, () => Promise.resolve({ node: "n3", bucket: null, keys: null }));
  answerPresence(bucket.nc, () => {
    // The second question finds it gone.
    if (++asked === 2) serves = null;
    return Promise.resolve({ node: "n1", bucket: serves, keys: null });
  });
  await bucket.nc.flush();
  await whenOthersLeft({ ...world, bus: { ...world.bus, node: "n2" } }, bucket.name);
  assert.equal(asked, 2);
  // Its own answer does not count.
  serves = bucket.name;
  await whenOthersLeft(world, bucket.name);
  assert.equal(asked, 3);
  // Where no majority answers, nobody is waited for.
  const connection = refusing(bucket.nc, `KV_${bucket.name}`);
  await whenOthersLeft({ ...world, bus: { ...world.bus, node: "n2", connection } }, bucket.name);
  assert.equal(asked, 4);
});

test("a nats-server that does not change leaves the node as it was; one that we do not manage is not asked", async (at) => {
  const { world, trip } = at;
  const { db } = world.around.settings;
  const stateOf = async () => (await readNode(db))!.state;
  const enter = (change: Bus["change"], connection: NatsConnection) =>
    enterCluster({ ...world, bus: { ...world.bus, change, connection } }, ["n1"], trip);
  await using alone = await testServer({ jetstream: false });
  const nc = await connectNats({ servers: alone.url }) as NatsConnection;
  try {
    await writeNode(db, { ...(await readNode(db))!, state: "planned" });
    await failsWith("refused", () => enter(null, nc), /does not manage this nats-server/);
    const fails: Bus["change"] = async (_, commit) => {
      await commit();
      assert.equal(await stateOf(), "clustered");
      throw new StoreError("unavailable", "It does not start");
    };
    await failsWith("unavailable", () => enter(fails, nc), /does not start/);
    assert.equal(await stateOf(), "planned");

    // It is in a cluster that does not come about, and goes back.
    const states: NodeState[] = [];
    const change: Bus["change"] = async (_, commit) => {
      await commit();
      states.push(await stateOf());
      if (states.length === 1) at.abort.abort("call-off");
    };
    await assert.rejects(enter(change, nc));
    assert.deepEqual(states, ["clustered", "planned"]);
    // One that was in it before stays.
    await assert.rejects(enter(change, clustered(at.bucket.nc)));
    assert.equal(states.length, 2);
  } finally {
    await nc.close();
  }
});

test("a node has entered its cluster when all others answer in it, and it has a leader", async (at) => {
  const { world, trip, bucket } = at;
  const told: number[] = [];
  const nodes = new Set(["n1"]);
  for (const node of ["n1", "n2"]) {
    answerPresence(bucket.nc, () => {
      const answer = { node: nodes.has(node) ? node : null, bucket: null, keys: null };
      return Promise.resolve(answer);
    });
  }
  const tell: Trip["tell"] = ({ done }) => {
    told.push(done!);
    nodes.add("n2");
  };
  const connection = refusing(world.bus.connection, "KV_UNIBUS");
  const bus = { ...world.bus, connection };
  await enterCluster({ ...world, bus }, ["n1", "n2"], { ...trip, tell });
  assert.deepEqual([told, at.changes], [[1, 2, 2], []]);
});
