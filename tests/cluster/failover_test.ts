/**
 * What a cluster of three promises while nodes come and go. Each test has a cluster of its own.
 *
 * @module
 */

import assert from "node:assert/strict";
import { connect } from "@nats-io/transport-node";
import type { Member } from "../../src/core/model.ts";
import { openJetStream } from "../../src/jetstream/mod.ts";
import type { StreamInfo } from "@nats-io/jetstream";
import type { Store } from "../../src/core/store.ts";
import { StoreError } from "../../src/core/errors.ts";
import { invariantProblems } from "../conformance/mod.ts";
import { eventually, hexKey, keysFor, newMember, newMembers } from "../conformance/kit/kit.ts";
import { newRoom, newUser, snapshot } from "../conformance/kit/kit.ts";
import { type TestCluster, testCluster, type TestServer } from "../helpers/nats.ts";

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** The stream as its leader sees it, asked through `server`. */
async function streamInfo(server: TestServer, bucket: string): Promise<StreamInfo> {
  const nc = await connect({ servers: server.url, timeout: 2000 });
  try {
    const answer = await nc.request(`$JS.API.STREAM.INFO.KV_${bucket}`, "", { timeout: 2000 });
    return answer.json<StreamInfo>();
  } finally {
    await nc.close();
  }
}

/** The server that leads the stream, asked through any of `among`. */
async function leaderOf(
  cluster: TestCluster,
  bucket: string,
  among: readonly TestServer[] = cluster.servers,
): Promise<TestServer> {
  for (let tries = 0; tries < 200; tries++) {
    try {
      const { cluster: group } = await streamInfo(among[tries % among.length]!, bucket);
      if (group?.leader) return cluster.servers[Number(group.leader.slice(1)) - 1]!;
    } catch { /* No leader yet. */ }
    await pause(50);
  }
  throw new Error("The stream found no leader");
}

/** What was answered while the cluster was in trouble; an answer is a promise. */
class Ledger {
  readonly claimed = new Map<string, Set<string>>();
  readonly refused = new Set<string>();
  readonly status = new Map<string, "active" | "revoked">();
  readonly epochs = new Map<string, number>();
  readonly deleted = new Set<string>();
  readonly unknown = new Set<string>();
  answered = 0;
  failed = 0;

  /** Whether the call was answered with yes. `unavailable` leaves its outcome open; other codes are given. */
  async saw(what: string, call: Promise<unknown>, ...allowed: string[]): Promise<boolean> {
    try {
      await call;
      this.answered++;
      return true;
    } catch (error) {
      assert.ok(error instanceof StoreError, `${what}: ${error}`);
      assert.ok(
        [...allowed, "unavailable"].includes(error.code),
        `${what} ended with ${error.code}: ${error.message}`,
      );
      if (error.code === "unavailable") this.unknown.add(what);
      this.failed++;
      return false;
    }
  }
}

Deno.test("the leader killed twice under load: nothing acknowledged is lost, no invite is claimed twice, all nodes agree", async () => {
  await using cluster = await testCluster(3);
  const bucket = "FAILOVER";
  const stores: Store[] = [];
  for (const { url } of cluster.servers) {
    // A node's own server first, the others for when it is gone.
    const servers = [url, ...cluster.urls.filter((it) => it !== url)];
    stores.push(await openJetStream({ servers, bucket, replicas: 3, opTimeout: 15_000 }));
  }
  const at = (i: number) => stores[i % stores.length]!;
  const ledger = new Ledger();
  let running = true;

  const claims = async (worker: number) => {
    for (let i = 0; running; i++) {
      const made: string[] = [];
      const what = `invite ${worker}.${i}`;
      const ok = await ledger.saw(
        what,
        at(worker + i).createInvite({ createdBy: "cli" }).then(({ token, invite }) =>
          made.push(token, invite.id)
        ),
      );
      if (!ok) continue;
      const [token, id] = made as [string, string];
      const winners = new Set<string>();
      ledger.claimed.set(id, winners);
      await Promise.all([0, 1, 2, 3].map(async (n) => {
        const { signPub, kexPub, handle } = newUser({ handle: `${what}.${n}` });
        const claim = at(n).consumeInvite(token, { signPub, kexPub, handle });
        const name = `claim ${id} ${signPub}`;
        if (await ledger.saw(name, claim, "invite_used", "conflict")) winners.add(signPub);
        else if (!ledger.unknown.has(name)) ledger.refused.add(signPub);
      }));
    }
  };
  const revocations = async (worker: number) => {
    const { signPub } = await at(worker).addUser(newUser());
    for (let i = 0; running; i++) {
      const store = at(worker + i);
      const wanted = i % 2 ? "active" : "revoked";
      ledger.status.delete(signPub);
      const call = wanted === "active" ? store.restoreUser(signPub) : store.revokeUser(signPub);
      if (await ledger.saw(`${wanted} ${signPub} ${i}`, call, "conflict")) {
        ledger.status.set(signPub, wanted);
      }
      await pause(5);
    }
  };
  const rooms = async (worker: number) => {
    for (let i = 0; running; i++) {
      const id = `room-${worker}-${i}`;
      const who = [newMember(), ...newMembers(3)];
      const store = at(worker + i);
      const [owner, ...members] = who;
      const room = newRoom(id, { owner: owner!, members });
      if (!await ledger.saw(`create ${id}`, store.createRoom(room))) continue;
      ledger.epochs.set(id, 1);
      const rekey = { epoch: 2, sealedKeys: keysFor(who) };
      const again = at(worker + i + 1);
      if (await ledger.saw(`rekey ${id}`, again.rekeyRoom(id, rekey))) ledger.epochs.set(id, 2);
      if (i % 2) continue;
      if (await ledger.saw(`delete ${id}`, store.deleteRoom(id))) ledger.deleted.add(id);
    }
  };
  const load = Promise.all([
    ...[0, 1].map(claims),
    ...[0, 1, 2].map(revocations),
    ...[0, 1, 2].map(rooms),
  ]);
  // Heard of at the end: a worker that fails must not end the test before its servers are up again.
  load.catch(() => running = false);
  for (let round = 0; round < 2; round++) {
    await pause(700);
    const before = ledger.answered;
    const leader = await leaderOf(cluster, bucket);
    leader.kill("SIGKILL");
    await leader.exited;
    await eventually(
      "writes go on with two nodes",
      () => Promise.resolve(!running || ledger.answered > before + 20),
      20_000,
    );
    await leader.restart();
    await cluster.ready();
  }
  running = false;
  await load;

  const all = await snapshot(at(0)) as Record<string, unknown>[];
  for (const store of stores) assert.deepEqual(await snapshot(store), all);
  const byId = new Map(all.map((it) => [`${it.kind} ${it.id ?? it.signPub}`, it]));
  for (const [id, winners] of ledger.claimed) {
    assert.ok(winners.size <= 1, `Invite ${id} was claimed by ${winners.size}`);
    const { usedBy } = byId.get(`invites ${id}`)!;
    for (const winner of winners) assert.equal(usedBy, winner);
    // Whoever it was is a user, and nobody else that tried is.
    if (usedBy !== null) assert.ok(byId.has(`users ${usedBy}`));
  }
  for (const signPub of ledger.refused) {
    assert.ok(!byId.has(`users ${signPub}`), `${signPub} was told no and is a user`);
  }
  const claimants = all.filter((it) => String(it.handle).startsWith("invite ")).length;
  const used = all.filter((it) => it.kind === "invites" && it.usedAt !== null).length;
  assert.equal(claimants, used, "as many users came as invites were used");
  for (const [signPub, status] of ledger.status) {
    assert.equal(byId.get(`users ${signPub}`)?.status, status);
  }
  for (const [id, epoch] of ledger.epochs) {
    const room = byId.get(`rooms ${id}`);
    if (ledger.deleted.has(id)) assert.equal(room, undefined, `${id} was deleted`);
    else if (!ledger.unknown.has(`delete ${id}`)) {
      const found = Number(room?.epoch);
      assert.ok(found === epoch || (found === 2 && ledger.unknown.has(`rekey ${id}`)), id);
    }
  }
  for (const store of stores) {
    assert.deepEqual(await invariantProblems(store, { everyMemberHasKey: true }), []);
  }
  for (const store of stores) await store.close();
});

/** Cuts a node with a warm cache off, and says how long the answer stayed yes. */
async function cutOff(
  cluster: TestCluster,
  bucket: string,
  node: TestServer,
  cut: () => void,
  heal: () => void,
  revocable: boolean,
): Promise<void> {
  const maxStaleness = 2000;
  await using there = await openJetStream({ servers: node.url, bucket, maxStaleness });
  const rest = cluster.urls.filter((url) => url !== node.url);
  await using elsewhere = await openJetStream({ servers: rest, bucket, opTimeout: 20_000 });
  const [stays, goes] = [newUser(), newUser()];
  await elsewhere.addUser(stays);
  await elsewhere.addUser(goes);
  for (const { signPub } of [stays, goes]) {
    await eventually("the cache is warm", () => there.isAuthorized(signPub));
  }
  const begun = performance.now();
  cut();
  try {
    const revoked = revocable ? elsewhere.revokeUser(goes.signPub) : Promise.resolve(null);
    // Kept for later; what the loop below finds comes first.
    revoked.catch(() => {});
    while (await there.isAuthorized(stays.signPub) || await there.isAuthorized(goes.signPub)) {
      const ms = Math.round(performance.now() - begun);
      assert.ok(ms < maxStaleness + 1500, `Still yes after ${ms} ms`);
      await pause(10);
    }
    await revoked;
    // Long enough for anything that renews a stale answer.
    for (const end = performance.now() + 2000; performance.now() < end; await pause(10)) {
      assert.equal(await there.isAuthorized(stays.signPub), false);
      assert.equal(await there.isAuthorized(goes.signPub), false);
    }
  } finally {
    heal();
  }
  await eventually("yes again", async () => {
    if (revocable) assert.equal(await there.isAuthorized(goes.signPub), false);
    return await there.isAuthorized(stays.signPub);
  }, 20_000);
  for (let i = 0; revocable && i < 200; i++) {
    assert.equal(await there.isAuthorized(goes.signPub), false, "revoked while it was cut off");
    await pause(5);
  }
}

Deno.test("fail closed: a node that is cut off stops saying yes, and never says it of who was revoked meanwhile", async (t) => {
  await using cluster = await testCluster(3);
  const bucket = "CUT";
  await (await openJetStream({ servers: cluster.urls, bucket, replicas: 3 })).close();

  await t.step("its nats-server hangs (a follower)", async () => {
    const leader = await leaderOf(cluster, bucket);
    const node = cluster.servers.find((it) => it !== leader)!;
    await cutOff(
      cluster,
      bucket,
      node,
      () => node.kill("SIGSTOP"),
      () => node.kill("SIGCONT"),
      true,
    );
  });
  await t.step("its nats-server hangs (the leader)", async () => {
    const node = await leaderOf(cluster, bucket);
    await cutOff(
      cluster,
      bucket,
      node,
      () => node.kill("SIGSTOP"),
      () => node.kill("SIGCONT"),
      true,
    );
  });
  await t.step(
    "it is the leader, and the other two hang: its server answers, without a quorum",
    async () => {
      const node = await leaderOf(cluster, bucket);
      const others = cluster.servers.filter((it) => it !== node);
      await cutOff(
        cluster,
        bucket,
        node,
        () => others.forEach((it) => it.kill("SIGSTOP")),
        () => others.forEach((it) => it.kill("SIGCONT")),
        false,
      );
    },
  );
  await t.step(
    "the leader has never heard of one node since it started, and the other hangs",
    async () => {
      // The server reports a node that it never heard as active 0 ns ago.
      await Promise.all(cluster.servers.map((it) => it.stop()));
      const [first, second, third] = cluster.servers as [TestServer, TestServer, TestServer];
      await Promise.all([first.restart(), second.restart()]);
      const node = await leaderOf(cluster, bucket, [first, second]);
      const other = node === first ? second : first;
      const maxStaleness = 2000;
      await using there = await openJetStream({ servers: node.url, bucket, maxStaleness });
      const { signPub } = await there.addUser(newUser());
      await eventually("the cache is warm", () => there.isAuthorized(signPub));
      const begun = performance.now();
      other.kill("SIGSTOP");
      try {
        while (await there.isAuthorized(signPub)) {
          const ms = Math.round(performance.now() - begun);
          assert.ok(ms < maxStaleness + 1500, `Still yes after ${ms} ms without a quorum`);
          await pause(10);
        }
      } finally {
        other.kill("SIGCONT");
      }
      await eventually("yes again", () => there.isAuthorized(signPub), 20_000);
      await third.restart();
    },
  );
});

Deno.test("1 to 3 replicas and back to 1, in place, with writes going on: the call waits, nothing is lost", async () => {
  await using cluster = await testCluster(3);
  const bucket = "SCALE";
  await using store = await openJetStream({ servers: cluster.urls, bucket, opTimeout: 20_000 });
  const room = newRoom("r");
  await store.createRoom(room);
  const added: string[] = [];
  let running = true;
  const work = (async () => {
    while (running) {
      const user = newUser();
      await store.addUser(user);
      const member = { endpoint: user.signPub, kexPub: hexKey() };
      const { endpoint }: Member = await store.addMember("r", member);
      added.push(endpoint);
    }
  })();
  work.catch(() => running = false);
  for (const replicas of [3, 1]) {
    await pause(300);
    await (await openJetStream({ servers: cluster.urls, bucket, replicas })).close();
    const info = await streamInfo(await leaderOf(cluster, bucket), bucket);
    assert.equal(info.config.num_replicas, replicas);
    const others = info.cluster?.replicas ?? [];
    assert.equal(others.length, replicas - 1);
    // Writes go on: by now one may be a few messages behind again.
    for (const { name, current, offline, lag = 0 } of others) {
      assert.ok(!offline && (current || lag < 100), `${name} is not current: ${lag} behind`);
    }
  }
  await pause(300);
  running = false;
  await work;
  const members = (await store.listMembers("r", { limit: 10_000 })).items.map((it) => it.endpoint);
  assert.deepEqual(members, [room.owner.endpoint, ...added].sort());
  for (const signPub of added) assert.equal(await store.isAuthorized(signPub), true);
  assert.deepEqual(await invariantProblems(store), []);
});
