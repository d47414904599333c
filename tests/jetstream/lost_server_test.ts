import assert from "node:assert/strict";
import { connect } from "@nats-io/transport-node";
import { Kvm } from "@nats-io/kv";
import { diagnose, openJetStream, type Store, StoreError } from "../../mod.ts";
import { populate } from "../move/kit.ts";
import { pauseServer, testServer } from "../helpers/nats.ts";
import { invariantProblems } from "../conformance/mod.ts";
import { person } from "../helpers/sqlite.ts";

/** Asks until the answer comes, and says how long that took in ms. */
async function until(
  ask: () => Promise<boolean>,
  wanted: boolean,
  limit = 60_000,
): Promise<number> {
  const begun = performance.now();
  while (await ask() !== wanted) {
    assert.ok(performance.now() - begun < limit, `not ${wanted} within ${limit} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return performance.now() - begun;
}

Deno.test("fail closed: the server stopped, the answer turns to no within maxStaleness, and back to yes", async () => {
  await using server = await testServer();
  await using store = await openJetStream({
    servers: server.url,
    maxStaleness: 3000,
    opTimeout: 10_000,
  });
  const { signPub } = await store.addUser({ ...person("ada"), role: "admin" });
  assert.equal(await store.isAuthorized(signPub), true);
  assert.equal(await store.hasAdmin(), true);
  server.kill("SIGSTOP");
  await until(() => store.isAuthorized(signPub), false, 20_000);
  assert.equal(await store.hasAdmin(), false);
  server.kill("SIGCONT");
  await until(() => store.isAuthorized(signPub), true);
  await server.stop();
  await until(() => store.isAuthorized(signPub), false, 20_000);
  await server.restart();
  await until(() => store.isAuthorized(signPub), true);
  assert.equal(await store.hasAdmin(), true);
});

Deno.test("a revocation elsewhere is seen, and a deletion, and a restoration", async () => {
  await using server = await testServer();
  await using here = await openJetStream({ servers: server.url });
  await using there = await openJetStream({ servers: server.url });
  const { signPub } = await here.addUser(person("ada"));
  await until(() => there.isAuthorized(signPub), true);
  await here.revokeUser(signPub);
  assert.equal(await here.isAuthorized(signPub), false, "its own write is seen at once");
  await until(() => there.isAuthorized(signPub), false);
  await here.restoreUser(signPub);
  await until(() => there.isAuthorized(signPub), true);
  await here.deleteUser(signPub);
  await until(() => there.isAuthorized(signPub), false);
});

Deno.test("every method ends in bounded time when the server is gone, with unavailable", async () => {
  await using server = await testServer();
  await using store = await openJetStream({ servers: server.url, opTimeout: 3000 });
  await populate(store);
  await pauseServer(server);
  const { signPub, kexPub } = person("late");
  const member = { endpoint: signPub, kexPub };
  const sealedKey = new Uint8Array(80);
  const calls: Record<string, () => Promise<unknown>> = {
    createRoom: () => store.createRoom({ id: "x", subject: "x", encrypted: false, owner: member }),
    getRoom: () => store.getRoom("general"),
    listRooms: () => store.listRooms(),
    listRoomsForEndpoint: () => store.listRoomsForEndpoint(signPub),
    deleteRoom: () => store.deleteRoom("general"),
    addMember: () => store.addMember("general", member),
    getMember: () => store.getMember("general", signPub),
    listMembers: () => store.listMembers("general"),
    removeMember: () => store.removeMember("general", signPub),
    rekeyRoom: () => store.rekeyRoom("general", { epoch: 3, sealedKeys: [] }),
    putSealedKey: () =>
      store.putSealedKey({ roomId: "general", epoch: 1, endpoint: signPub, sealedKey }),
    getSealedKey: () => store.getSealedKey("general", signPub),
    listSealedKeys: () => store.listSealedKeys("general"),
    pruneSealedKeys: () => store.pruneSealedKeys("general", 2),
    pruneInvites: () => store.pruneInvites("2026-01-01T00:00:00.000Z"),
    countMembers: () => store.countMembers("general"),
    addUser: () => store.addUser(person("late")),
    getUser: () => store.getUser(signPub),
    listUsers: () => store.listUsers(),
    revokeUser: () => store.revokeUser(signPub),
    deleteUser: () => store.deleteUser(signPub),
    createInvite: () => store.createInvite({ createdBy: "cli" }),
    getInvite: () => store.getInvite("ab".repeat(32)),
    listInvites: () => store.listInvites(),
    consumeInvite: () => store.consumeInvite("ab".repeat(32), person("late")),
    cancelInvite: () => store.cancelInvite("ab".repeat(32)),
  };
  const begun = performance.now();
  const ended = await Promise.all(
    Object.entries(calls).map(async ([name, call]) => {
      await assert.rejects(call(), (error: unknown) => {
        assert.ok(error instanceof StoreError, `${name}: ${error}`);
        assert.equal(error.code, "unavailable", `${name}: ${error.message}`);
        return true;
      }, name);
      return [name, performance.now() - begun] as const;
    }),
  );
  for (const [name, ms] of ended) assert.ok(ms < 30_000, `${name} took ${Math.round(ms)} ms`);
  assert.equal(await store.isAuthorized(person("ada").signPub), false);
  server.kill("SIGCONT");
});

Deno.test("an acknowledgement that got lost: the operation is done once, and says so", async () => {
  await using server = await testServer();
  await using store = await openJetStream({ servers: server.url, opTimeout: 20_000 });
  await using other = await openJetStream({ servers: server.url, opTimeout: 20_000 });
  for (let round = 0; round < 5; round++) {
    const invites = await Promise.all(
      Array.from({ length: 10 }, () => store.createInvite({ createdBy: "cli" })),
    );
    const claims = invites.flatMap(({ token }, i) =>
      [store, other].map((it) => it.consumeInvite(token, person(`r${round} i${i} ${it === store}`)))
    );
    // In the middle of the claims the server goes away; what it had taken in stays.
    server.kill("SIGKILL");
    await server.exited;
    await server.restart();
    const results = await Promise.allSettled(claims);
    for (const [i, { invite }] of invites.entries()) {
      const pair = results.slice(2 * i, 2 * i + 2);
      const won = pair.filter((it) => it.status === "fulfilled");
      assert.ok(won.length <= 1, "claimed twice");
      const { usedBy } = await store.getInvite(invite.id);
      if (won[0]) assert.equal(usedBy, won[0].value.signPub);
      for (const it of pair) {
        if (it.status === "rejected") {
          assert.ok(["invite_used", "unavailable"].includes(it.reason.code), String(it.reason));
        }
      }
      assert.equal(usedBy !== null, await isUser(store, usedBy));
    }
  }
  assert.deepEqual(await invariantProblems(store), []);
});

async function isUser(store: Store, signPub: string | null): Promise<boolean> {
  if (signPub === null) return false;
  return (await store.getUser(signPub)).status === "active";
}

Deno.test("the doctor finds and mends an index that disagrees, and what a killed process left", async () => {
  await using server = await testServer();
  const options = { servers: server.url, bucket: "DOCTOR" };
  {
    await using store = await openJetStream(options);
    await populate(store);
  }
  assert.deepEqual((await diagnose(options)).filter((it) => it.level === "problem"), []);
  const nc = await connect({ servers: server.url });
  const kv = await new Kvm(nc).open(options.bucket);
  const [ada, bob] = [person("ada").signPub, person("bob").signPub];
  await kv.delete(`rooms_by_member.${ada}.general`);
  await kv.put(`rooms_by_member.${bob}.nowhere`, '{"v":1}');
  // Its room is deleted, which a marker tells for a day.
  await kv.put("rooms.lost", "{}");
  await kv.delete("rooms.lost");
  await kv.put(
    `members.lost.${bob}`,
    `{"v":1,"role":"member","kexPub":"${bob}","joinedAt":"2026-11-20T08:00:00.000Z"}`,
  );
  const half = {
    v: 1,
    subject: "half",
    encrypted: false,
    owner: ada,
    epoch: 1,
    createdAt: "2026-11-20T08:00:00.000Z",
    pending: { op: "create" },
  };
  await kv.put("rooms.half", JSON.stringify(half));
  await kv.put(`members.half.${ada}`, `{"v":1,"role":"owner","kexPub":"${ada}","joinedAt":"x"}`);
  const found = await diagnose(options);
  const problems = found.filter((it) => it.level === "problem");
  assert.deepEqual(problems.map((it) => it.check), [
    "index",
    "rooms",
    "rooms",
    "records",
    "records",
  ]);
  assert.match(problems[2]!.message, new RegExp(`members\\.lost\\.${bob}`), "named before removed");
  const repaired = await diagnose({ ...options, repair: true });
  assert.ok(repaired.every((it) => it.level !== "problem" || it.repaired));
  assert.deepEqual((await diagnose(options)).filter((it) => it.level === "problem"), []);
  await using store = await openJetStream(options);
  assert.deepEqual((await store.listRoomsForEndpoint(ada)).items.map((it) => it.id), ["general"]);
  assert.deepEqual(await invariantProblems(store), []);
  await nc.close();
});

Deno.test("doctor finds an index that takes an offer for accepted, and repairs it", async () => {
  await using server = await testServer();
  const options = { servers: server.url, bucket: "OFFERS" };
  const [ada, bob] = [person("ada").signPub, person("bob").signPub];
  {
    await using store = await openJetStream(options);
    await store.createRoom({
      id: "r",
      subject: "room.r",
      encrypted: false,
      owner: { endpoint: ada, kexPub: ada },
      members: [{ endpoint: bob, kexPub: bob, accepted: false }],
    });
  }
  assert.deepEqual((await diagnose(options)).filter((it) => it.level === "problem"), []);
  const nc = await connect({ servers: server.url });
  const kv = await new Kvm(nc).open(options.bucket);
  const value = async (key: string) => (await kv.get(key))!.json();
  assert.deepEqual(await value(`rooms_by_member.${bob}.r`), { v: 1, accepted: false });
  // What has been accepted is written as version 0.1 did.
  assert.deepEqual(await value(`rooms_by_member.${ada}.r`), { v: 1 });
  await kv.put(`rooms_by_member.${bob}.r`, '{"v":1}');
  await kv.put(`rooms_by_member.${ada}.r`, '{"v":1,"accepted":false}');
  const [problem] = (await diagnose(options)).filter((it) => it.level === "problem");
  assert.match(problem!.message, /^The index has 2 missing or wrong and 0 extra/);
  await diagnose({ ...options, repair: true });
  assert.deepEqual((await diagnose(options)).filter((it) => it.level === "problem"), []);
  await nc.close();
  await using store = await openJetStream(options);
  assert.deepEqual((await store.listRoomsForEndpoint(bob, { accepted: true })).items, []);
  assert.equal((await store.listRoomsForEndpoint(ada, { accepted: true })).items.length, 1);
  assert.deepEqual(await invariantProblems(store), []);
});
