/**
 * Interleavings that an adversary would choose: lost acknowledgements, frozen nodes, two processes on
 * one room, a server that hangs or a connection that goes away in the middle.
 *
 * @module
 */

import assert from "node:assert/strict";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { diagnose, migrateKvToSqlite, openJetStream, type Store, StoreError } from "../../mod.ts";
import { collect, eventually, fails, hex, keysFor, newMember } from "../conformance/kit/kit.ts";
import { newMembers, newRoom, newUser, sealed } from "../conformance/kit/kit.ts";
import { inDir } from "../helpers/sqlite.ts";
import {
  pauseServer,
  type TestCluster,
  testCluster,
  type TestServer,
  testServer,
} from "../helpers/nats.ts";

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** The code a call ended with, `ok` for none. */
async function ending(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return "ok";
  } catch (error) {
    if (error instanceof StoreError) return error.code;
    return `${(error as Error).constructor.name}: ${(error as Error).message}`;
  }
}

async function leaderOf(cluster: TestCluster, bucket: string): Promise<TestServer> {
  const nc = await connect({ servers: cluster.urls });
  try {
    const manager = await jetstreamManager(nc, { checkAPI: false });
    const { cluster: group } = await manager.streams.info(`KV_${bucket}`);
    return cluster.servers[Number(group!.leader!.slice(1)) - 1]!;
  } finally {
    await nc.close();
  }
}

Deno.test("a cluster of three", async (t) => {
  await using cluster = await testCluster(3);

  await t.step(
    "the quorum away for a moment: a write that was made is never reported as refused",
    async () => {
      const bucket = "AMBIGUOUS";
      await (await openJetStream({ servers: cluster.urls, bucket, replicas: 3 })).close();
      const leader = await leaderOf(cluster, bucket);
      await using store = await openJetStream({ servers: leader.url, bucket, opTimeout: 10_000 });
      const room = newRoom("rekeyed");
      await store.createRoom(room);
      await store.createRoom(newRoom("deleted"));
      const user = await store.addUser(newUser());
      const { token } = await store.createInvite({ createdBy: "cli" });
      const { signPub, kexPub, handle } = newUser();
      const others = cluster.servers.filter((it) => it !== leader);
      await Promise.all(others.map(pauseServer));
      const rekey = { epoch: 2, sealedKeys: keysFor([room.owner]) };
      const calls = {
        consumeInvite: ending(store.consumeInvite(token, { signPub, kexPub, handle })),
        createRoom: ending(store.createRoom(newRoom("created"))),
        deleteRoom: ending(store.deleteRoom("deleted")),
        rekeyRoom: ending(store.rekeyRoom("rekeyed", rekey)),
        addUser: ending(store.addUser(newUser())),
        deleteUser: ending(store.deleteUser(user.signPub)),
        revokeUser: ending(store.addUser(newUser()).then((it) => store.revokeUser(it.signPub))),
      };
      // Longer than one try takes, shorter than the leader needs to step down.
      await pause(2600);
      for (const it of others) it.kill("SIGCONT");
      for (const [name, call] of Object.entries(calls)) {
        const word = await call;
        assert.ok(word === "ok" || word === "unavailable", `${name} ended with ${word}`);
      }
    },
  );

  await t.step(
    "a node that froze with a write in hand does not undo a later one when it thaws",
    async () => {
      const bucket = "FROZEN";
      await using other = await openJetStream({ servers: cluster.urls, bucket, replicas: 3 });
      const room = newRoom("r");
      await other.createRoom(room);
      const leader = await leaderOf(cluster, bucket);
      const [victim, third] = cluster.servers.filter((it) => it !== leader);
      const nc = await connect({
        servers: [victim!.url, leader.url, third!.url],
        noRandomize: true,
        pingInterval: 500,
        maxPingOut: 2,
        reconnectTimeWait: 50,
        maxReconnectAttempts: -1,
        timeout: 1000,
      });
      // The node freezes between the transaction's read and its write.
      let armed = true;
      const freezing = new Proxy(nc, {
        get(target, name) {
          const value = Reflect.get(target, name, target);
          if (typeof value !== "function") return value;
          if (name !== "request") return value.bind(target);
          return (...args: Parameters<NatsConnection["request"]>) => {
            if (armed && args[0].startsWith("$KV.")) {
              armed = false;
              victim!.kill("SIGSTOP");
            }
            return target.request(...args);
          };
        },
      });
      const store = await openJetStream({ connection: freezing, bucket, opTimeout: 20_000 });
      await using direct = await openJetStream({ servers: leader.url, bucket });
      const put = (it: Store, sealedKey: Uint8Array) =>
        it.putSealedKey({ roomId: "r", epoch: 1, endpoint: room.owner.endpoint, sealedKey });
      const [early, late] = [sealed(), sealed()];
      try {
        await put(store, early);
        await put(direct, late);
      } finally {
        victim!.kill("SIGCONT");
      }
      await store.close();
      await nc.close();
      // What the node had in hand is sent on once its routes are up again.
      await cluster.ready();
      for (let i = 0; i < 30; i++) {
        const now = await direct.getSealedKey("r", room.owner.endpoint, 1);
        assert.equal(hex(now.sealedKey), hex(late), "the acknowledged second key was overwritten");
        await pause(100);
      }
    },
  );
});

Deno.test("one server", async (t) => {
  await using server = await testServer();
  const open = (bucket: string, more: { opTimeout?: number } = {}) =>
    openJetStream({ servers: server.url, bucket, ...more });

  await t.step(
    "deleteRoom() deletes once: a room made behind it by another process stays",
    async () => {
      await using here = await open("TWICE");
      await using there = await open("TWICE");
      for (let i = 0; i < 150; i++) {
        const id = `r${i}`;
        await here.createRoom(newRoom(id, { members: newMembers(2) }));
        const deleting = ending(here.deleteRoom(id));
        let word: string;
        do word = await ending(there.createRoom(newRoom(id))); while (word === "room_exists");
        assert.equal(word, "ok");
        assert.equal(await deleting, "ok", "the room was there when its deletion began");
        assert.equal((await here.getRoom(id)).id, id);
      }
    },
  );

  await t.step(
    "all is readable after the delete markers at the end of the stream have expired",
    async () => {
      await using store = await open("EXPIRED");
      const member = newMember();
      await store.createRoom(newRoom("r", { members: [member] }));
      await store.removeMember("r", member.endpoint);
      const nc = await connect({ servers: server.url });
      const manager = await jetstreamManager(nc);
      // What the server does with them after a day.
      for (const key of [`members.r.${member.endpoint}`, `rooms_by_member.${member.endpoint}.r`]) {
        await manager.streams.purge("KV_EXPIRED", { filter: `$KV.EXPIRED.${key}` });
      }
      await nc.close();
      const signal = AbortSignal.timeout(5000);
      assert.equal((await collect(store.records({ signal }))).length, 4);
    },
  );

  await t.step("what a killed rekey left does not bar the way back", async () => {
    const options = { servers: server.url, bucket: "LEFT" };
    await using store = await open("LEFT");
    const room = newRoom("r");
    await store.createRoom(room);
    const nc = await connect({ servers: server.url });
    const manager = await jetstreamManager(nc);
    const found = await manager.streams.getMessage("KV_LEFT", {
      last_by_subj: "$KV.LEFT.rooms.r",
    });
    const value = { ...found!.json<Record<string, unknown>>(), pending: { op: "rekey" } };
    await nc.request("$KV.LEFT.rooms.r", JSON.stringify(value));
    const key = { v: 1, sealedKey: "AAAA", createdAt: "2026-11-20T08:00:00.000Z" };
    await nc.request(`$KV.LEFT.room_keys.r.2.${room.owner.endpoint}`, JSON.stringify(key));
    await nc.close();
    await store.close();
    await diagnose({ ...options, repair: true });
    await inDir(async (dir) => {
      const { counts } = await migrateKvToSqlite({ nats: options, db: `${dir}/unibus.db` });
      assert.equal(counts.room_keys, 1);
    });
  });

  await t.step(
    "on a connection that was closed every method says so, and nothing is thrown later",
    async () => {
      const nc = await connect({ servers: server.url });
      const store = await openJetStream({ connection: nc, bucket: "CLOSED" });
      const room = newRoom("r");
      await store.createRoom(room);
      await nc.close();
      const { endpoint } = room.owner;
      const sealedKeys = keysFor([room.owner]);
      const calls: (() => Promise<unknown>)[] = [
        () => store.createRoom(newRoom("x")),
        () => store.getRoom("r"),
        () => store.listRooms(),
        () => store.listRoomsForEndpoint(endpoint),
        () => store.deleteRoom("r"),
        () => store.addMember("r", newMember()),
        () => store.getMember("r", endpoint),
        () => store.listMembers("r"),
        () => store.removeMember("r", endpoint),
        () => store.rekeyRoom("r", { epoch: 2, sealedKeys }),
        () => store.putSealedKey({ roomId: "r", epoch: 1, ...sealedKeys[0]! }),
        () => store.getSealedKey("r", endpoint),
        () => store.listSealedKeys("r"),
        () => store.addUser(newUser()),
        () => store.getUser(endpoint),
        () => store.listUsers(),
        () => store.revokeUser(endpoint),
        () => store.deleteUser(endpoint),
        () => store.createInvite({ createdBy: "cli" }),
        () => store.listInvites(),
        () => store.consumeInvite("ab".repeat(32), newUser()),
        () => store.cancelInvite("ab".repeat(32)),
        () => collect(store.records()),
      ];
      for (const call of calls) {
        const word = await ending(call());
        assert.equal(word, "closed", `${call} ended with ${word}`);
      }
      assert.equal(await store.isAuthorized(endpoint), false);
      // An error of a timer left behind would end the process within the time of one try.
      await pause(2000);
      await store.close();
    },
  );

  await t.step(
    "close() in the middle of a list on a hung server ends it, and nothing is thrown later",
    async () => {
      const store = await open("HUNG");
      await store.createRoom(newRoom("r"));
      await pauseServer(server);
      const lists = [store.listMembers("r"), store.listRooms(), collect(store.records())].map(
        ending,
      );
      await pause(200);
      await store.close();
      const words = await Promise.all(lists);
      server.kill("SIGCONT");
      assert.deepEqual(words, ["closed", "closed", "closed"]);
      await pause(2000);
    },
  );

  await t.step(
    "no call takes longer than opTimeout and a little, however many there are",
    async () => {
      const opTimeout = 1000;
      await using cold = await open("BOUNDED", { opTimeout });
      await using busy = await open("BOUNDED", { opTimeout });
      await busy.createRoom(newRoom("r"));
      const creating = Array.from({ length: 150 }, (_, i) => busy.createRoom(newRoom(`r${i}`)));
      creating[0]!.catch(() => {});
      const ended = creating.map(ending);
      await pause(60);
      server.kill("SIGSTOP");
      const begun = performance.now();
      const lists = Array.from({ length: 4 }, () => ending(cold.listUsers()));
      const took = async (calls: Promise<string>[]) => {
        await Promise.all(calls);
        return performance.now() - begun;
      };
      const [made, listed] = await Promise.all([took(ended), took(lists)]);
      server.kill("SIGCONT");
      await eventually("the server is back", async () => await ending(busy.getRoom("r")) === "ok");
      assert.ok(listed < opTimeout + 1500, `listUsers() took ${Math.round(listed)} ms`);
      assert.ok(made < opTimeout + 1500, `createRoom() took ${Math.round(made)} ms`);
      await fails("not_found", busy.getRoom("nowhere"));
    },
  );
});
