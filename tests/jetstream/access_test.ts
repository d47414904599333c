import assert from "node:assert/strict";
import { connect } from "@nats-io/transport-node";
import { jetstreamManager } from "@nats-io/jetstream";
import { openJetStream, type Store } from "../../mod.ts";
import type { AccessChange, StoreHealth } from "../../src/core/model.ts";
import { eventually, fails, keysFor, newMember, newRoom, newUser } from "../conformance/kit/kit.ts";
import { person } from "../helpers/sqlite.ts";
import { testServer } from "../helpers/nats.ts";

/** What a listener was told since it was last asked. */
function listen(store: Store): { told: AccessChange[]; end: () => void } {
  const told: AccessChange[] = [];
  return { told, end: store.watchAccess((change) => told.push(change)) };
}

async function healthy(store: Store): Promise<void> {
  await eventually("healthy", async () => (await store.health()).ok);
}

const names = ({ checks }: StoreHealth, ok: boolean) =>
  checks.filter((it) => it.ok === ok).map((it) => it.name);

Deno.test("watchAccess() names exactly what another node changed, within 250 ms", async () => {
  await using server = await testServer();
  await using here = await openJetStream({ servers: server.url });
  await using there = await openJetStream({ servers: server.url });
  const owner = newMember();
  await here.createRoom(newRoom("old", { owner }));
  const { told } = listen(there);
  await eventually("told once that it is loaded", () => Promise.resolve(told.length === 1));
  assert.deepEqual(told.splice(0), [{}]);

  const took: number[] = [];
  for (let i = 0; i < 5; i++) {
    const user = newUser();
    await here.addUser(user);
    const begun = performance.now();
    await eventually("told", () => Promise.resolve(told.length > 0));
    took.push(performance.now() - begun);
    assert.deepEqual(told.splice(0), [{ endpoint: user.signPub }]);
  }
  // The best of them: a busy machine may hold a timer back, but not each time.
  assert.ok(Math.min(...took) <= 250, `told after ${took.map(Math.round)} ms`);

  // No access is changed by these; the user behind them shows that they have come by.
  await here.rekeyRoom("old", { epoch: 2, sealedKeys: keysFor([owner]) });
  await here.createInvite({ createdBy: "cli" });
  const last = newUser();
  await here.addUser(last);
  await eventually("told of the last", () => Promise.resolve(told.length > 0));
  assert.deepEqual(told.splice(0), [{ endpoint: last.signPub }]);

  const member = newMember();
  await here.createRoom(newRoom("r", { owner, members: [member] }));
  await eventually("told of the room", () => Promise.resolve(told.length >= 3));
  const wanted = [{ roomId: "r" }, { endpoint: owner.endpoint }, { endpoint: member.endpoint }];
  const sorted = (changes: AccessChange[]) => changes.map((it) => JSON.stringify(it)).sort();
  assert.deepEqual(sorted(told.splice(0)), sorted(wanted));
});

Deno.test("a room of 1,200 members is told of, hidden while it is made, then there", async () => {
  await using server = await testServer();
  await using here = await openJetStream({ servers: server.url });
  await using there = await openJetStream({ servers: server.url });
  const members = Array.from({ length: 1200 }, newMember);
  let read: Promise<number> = Promise.resolve(-1);
  there.watchAccess(({ endpoint, roomId }) => {
    if (endpoint !== undefined && endpoint !== members[0]!.endpoint && roomId === undefined) return;
    read = read.then(async () =>
      (await there.listRoomsForEndpoint(members[0]!.endpoint)).items.length
    );
  });
  await healthy(there);
  await here.createRoom(newRoom("big", { members, encrypted: false }));
  await eventually("it is there", async () => await read === 1);
  await here.deleteRoom("big");
  await eventually("it is gone", async () => await read === 0);
});

Deno.test("changes made while the server was away are told when it is back", async () => {
  await using server = await testServer();
  await using here = await openJetStream({ servers: server.url, maxStaleness: 1000 });
  await here.addUser(person("ada"));
  const { told } = listen(here);
  await healthy(here);
  await server.stop();
  await eventually("not healthy", async () => !(await here.health()).ok);
  await server.restart();
  told.length = 0;
  await using there = await openJetStream({ servers: server.url });
  await there.revokeUser(person("ada").signPub);
  const covered = () =>
    told.some((it) => it.endpoint === person("ada").signPub || Object.keys(it).length === 0);
  await eventually("told of it", () => Promise.resolve(covered()));
  // That all may have changed is told also of what it reads before that change comes.
  await eventually("no, and not for want of knowledge", async () => {
    const isIn = await here.isAuthorized(person("ada").signPub);
    return !isIn && (await here.health()).ok;
  });
});

Deno.test("a bucket that vanished under a store: told of, unhealthy, nobody is let in, whatever a new one holds", async () => {
  await using server = await testServer();
  const { url: servers } = server;
  await using here = await openJetStream({ servers, maxStaleness: 3000, opTimeout: 3000 });
  const admin = newUser({ role: "admin" });
  // High sequences: those of the new bucket lie below them.
  for (let i = 0; i < 30; i++) await here.addUser(person(i));
  await here.addUser(admin);
  // Has asked nothing yet, and so knows nothing.
  await using silent = await openJetStream({ servers, maxStaleness: 3000, opTimeout: 3000 });
  const { told } = listen(here);
  await healthy(here);
  await eventually("told that it is loaded", () => Promise.resolve(told.length > 0));
  assert.deepEqual([await here.isAuthorized(admin.signPub), await here.hasAdmin()], [true, true]);
  const nc = await connect({ servers });
  const manager = await jetstreamManager(nc);
  told.length = 0;
  await manager.streams.delete("KV_UNIBUS");
  await eventually(
    "told that all may have changed",
    () => Promise.resolve(told.some((it) => Object.keys(it).length === 0)),
  );
  /** Nobody is let in, and health says why. */
  const lost = async (store: Store, why: RegExp) => {
    assert.deepEqual([await store.isAuthorized(admin.signPub), await store.hasAdmin()], [
      false,
      false,
    ]);
    const health = await store.health();
    assert.deepEqual(names(health, false).sort(), ["cache", "replicas", "stream"]);
    assert.match(health.checks.find((it) => it.name === "stream")!.detail, why);
    await fails("unavailable", store.addUser(newUser()));
    await fails("unavailable", store.getUser(admin.signPub));
  };
  const deleted = /^Bucket UNIBUS was deleted while the store was open; restore /;
  await lost(here, deleted);
  await lost(silent, deleted);

  // The same records: it is another bucket all the same.
  await using there = await openJetStream({ servers });
  await there.addUser(admin);
  const again =
    /^Bucket UNIBUS was deleted and created again \(20\S+Z\) while the store was open; /;
  await using late = await openJetStream({ servers });
  await eventually("never warm again", async () => !(await here.health()).ok);
  await lost(here, again);
  await lost(silent, again);
  assert.equal((await there.listUsers()).items.length, 1, "nothing was written into it");
  await healthy(late);
  assert.equal(await late.isAuthorized(admin.signPub), true);
  await manager.streams.delete("KV_UNIBUS");
  await using last = await openJetStream({ servers });
  await last.addUser(admin);
  // The first question since.
  assert.equal(await there.isAuthorized(admin.signPub), false);
  await nc.close();
});

Deno.test("health() becomes ok by being asked only, and says which part is not", async () => {
  await using server = await testServer();
  await using store = await openJetStream({ servers: server.url, maxStaleness: 1000 });
  const first = await store.health();
  assert.deepEqual(first.checks.map((it) => it.name), [
    "connection",
    "stream",
    "replicas",
    "cache",
  ]);
  await healthy(store);
  const { checks } = await store.health();
  assert.match(checks[2]!.detail, /^1 of 1 current$/);

  server.kill("SIGSTOP");
  // Fresh for a while yet; the connection is not.
  let now = await store.health();
  for (let tries = 0; names(now, false).length < 4 && tries < 5; tries++) {
    const begun = performance.now();
    now = await store.health();
    assert.ok(performance.now() - begun < 20_000, "it answers in bounded time");
  }
  assert.deepEqual(names(now, false), ["connection", "stream", "replicas", "cache"]);
  assert.match(now.checks[3]!.detail, /ms old, limit 1000 ms/);
  server.kill("SIGCONT");
  await healthy(store);
});

Deno.test("health() of an empty bucket becomes ok, and of one whose newest messages have expired", async () => {
  await using server = await testServer();
  {
    await using store = await openJetStream({ servers: server.url });
    await healthy(store);
    await store.addUser(person("ada"));
  }
  const nc = await connect({ servers: server.url });
  const manager = await jetstreamManager(nc);
  const before = (await manager.streams.info("KV_UNIBUS")).state.last_seq;
  // As our own delete markers do after a day.
  const subject = `$KV.UNIBUS.users.${person("bob").signPub}`;
  const marker = `KV-Operation: DEL\r\nNats-TTL: 1s\r\n`;
  const headers = { encode: () => new TextEncoder().encode(`NATS/1.0\r\n${marker}\r\n`) };
  await nc.request(subject, "", { timeout: 60_000, headers: headers as never });
  await eventually("expired", async () => {
    const { state } = await manager.streams.info("KV_UNIBUS");
    return state.messages === before && state.last_seq > before;
  });
  await using store = await openJetStream({ servers: server.url });
  await healthy(store);
  assert.equal(await store.isAuthorized(person("ada").signPub), true);
  await nc.close();
});
