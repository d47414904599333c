/**
 * Everything in: records put back as they are, or not at all.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { StoreRecord } from "../../../src/core/model.ts";
import { noCounts } from "../../../src/core/order.ts";
import type { Store } from "../../../src/core/store.ts";
import { invariantProblems } from "../kit/invariants.ts";
import {
  collect,
  fails,
  hexKey,
  newMembers,
  newRoom,
  newUser,
  outcomes,
  plain,
} from "../kit/kit.ts";
import { snapshot } from "../kit/kit.ts";
import { seedStore } from "../kit/methods.ts";
import type { It, Scene } from "../suite.ts";

/** Registers the tests of restore(). */
export function restore(it: It): void {
  it("restore() of what records() gave is a round trip", async ({ store, reopen }) => {
    await seedStore(store);
    await store.createRoom(newRoom("big", { members: newMembers(1100) }));
    for (const id of ["\u{10000}", "\uffff", "\ue000"]) await store.createRoom(newRoom(id));
    const all = await collect(store.records());
    for (const it of all) await removeFrom(store, it);
    assert.deepEqual(await collect(store.records()), []);
    const progress: number[] = [];
    const counts = await store.restore(all, { onProgress: (done) => progress.push(done) });
    const expected = noCounts();
    for (const { kind } of all) expected[kind]++;
    assert.deepEqual(counts, expected);
    assert.equal(progress.at(-1), all.length);
    assert.deepEqual(progress, [...progress].sort((a, b) => a - b));
    assert.deepEqual(await snapshot(store), plain(all));
    const again = await reopen();
    assert.deepEqual(await snapshot(again), plain(all));
    assert.deepEqual(await invariantProblems(again), []);
    assert.equal(await again.hasAdmin(), true);
  }, "reopen");

  it("what was restored works: look-ups, rekey, invites, cached answers", async ({ store }) => {
    const seed = await seedStore(store);
    const all = await collect(store.records());
    await store.restore(all, { replace: true });
    assert.equal(await store.isAuthorized(seed.admin), true);
    assert.equal(await store.isAuthorized(seed.revoked), false);
    const mine = (await store.listRoomsForEndpoint(seed.member.endpoint)).items;
    assert.deepEqual(mine.map((r) => r.id), ["seed.room", "清/clear"]);
    await store.consumeInvite(seed.open.token, newUser());
    await store.removeMember("seed.room", seed.member.endpoint);
    await store.deleteRoom("清/clear");
    assert.deepEqual(await invariantProblems(store), []);
  });

  it("restore() refuses a store that is not empty", async ({ store }) => {
    await store.addUser(newUser());
    const before = await snapshot(store);
    await fails("refused", store.restore([]));
    await fails("refused", store.restore(users(3)));
    await fails("refused", store.restore(users(3), { replace: false }));
    assert.deepEqual(await snapshot(store), before);
  });

  it("restore() with replace leaves only what was restored", async ({ store }) => {
    const seed = await seedStore(store);
    const incoming = users(3);
    assert.equal((await store.restore(incoming, { replace: true })).users, 3);
    assert.deepEqual(await snapshot(store), plain(incoming));
    assert.equal(await store.isAuthorized(seed.admin), false);
    assert.equal(await store.hasAdmin(), false);
    assert.deepEqual((await store.listRoomsForEndpoint(seed.member.endpoint)).items, []);
    assert.deepEqual(await store.restore([], { replace: true }), noCounts());
    assert.deepEqual(await snapshot(store), []);
    await store.restore(users(1));
  });

  it("restore() of records that do not fit together leaves what was there", async (scene) => {
    const { store } = scene;
    await seedStore(store);
    const good = await collect(store.records());
    const pick = (kind: string) => good.findIndex((r) => r.kind === kind);
    const change = (kind: string, part: object) =>
      good.map((r, i) =>
        i === pick(kind) ? { kind: r.kind, record: { ...r.record, ...part } } as StoreRecord : r
      );
    const owner = good.findIndex((r) => r.kind === "members" && r.record.role === "owner");
    const broken: [string, StoreRecord[], string][] = [
      ["out of order", [...good].reverse(), "order"],
      ["swapped", [good[1]!, good[0]!, ...good.slice(2)], "order"],
      ["twice", good.flatMap((r, i) => i === 3 ? [r, r] : [r]), "order"],
      ["without the first room", good.slice(1), "roomId"],
      ["without an owner", good.filter((_, i) => i !== owner), "owner"],
      ["key ahead of its room", change("rooms", { epoch: 1 }), "epoch"],
      [
        "two owners",
        good.map((r) =>
          r.kind === "members"
            ? { ...r, record: { ...r.record, role: "owner" as const, accepted: true } }
            : r
        ),
        "role",
      ],
      ["bad key", change("users", { signPub: "xyz" }), "signPub"],
      ["bad time", change("rooms", { createdAt: "yesterday" }), "createdAt"],
      ["bad status", change("users", { status: "asleep" }), "status"],
      [
        "revoked without a time",
        change("users", { status: "revoked", revokedAt: null }),
        "revokedAt",
      ],
      ["bad id", change("rooms", { id: "a b" }), "id"],
      ["bad epoch", change("room_keys", { epoch: 0 }), "epoch"],
      ["no bytes", change("room_keys", { sealedKey: new Uint8Array(0) }), "sealedKey"],
      [
        "an owner who was only offered to",
        good.map((r, i) =>
          i === owner && r.kind === "members"
            ? { ...r, record: { ...r.record, accepted: false } }
            : r
        ),
        "accepted",
      ],
      ["no boolean", change("members", { accepted: "yes" }), "accepted"],
      ["other key", change("members", { signPub: hexKey() }), "signPub"],
    ];
    for (const [what, records, field] of broken) {
      const error = await fails("invalid", store.restore(records, { replace: true }), field);
      assert.ok(error.message.length > 10, what);
      await unchanged(scene, good);
    }
  });

  it("restore() passes on what its source throws, and leaves what was there", async (scene) => {
    const { store } = scene;
    await seedStore(store);
    const before = await collect(store.records());
    async function* torn(): AsyncGenerator<StoreRecord> {
      yield* users(50);
      await Promise.resolve();
      throw new Error("disk gone");
    }
    await assert.rejects(store.restore(torn(), { replace: true }), /disk gone/);
    await unchanged(scene, before);
  });

  it("restore() ends with aborted when its signal says so", async (scene) => {
    const { store } = scene;
    await seedStore(store);
    const before = await collect(store.records());
    const now = { replace: true, signal: AbortSignal.abort() };
    await fails("aborted", store.restore(users(5), now));
    await unchanged(scene, before);
    const controller = new AbortController();
    function* source(): Generator<StoreRecord> {
      for (const [i, user] of users(3000).entries()) {
        if (i === 1500) controller.abort();
        yield user;
      }
    }
    const later = { replace: true, signal: controller.signal };
    await fails("aborted", store.restore(source(), later));
    await unchanged(scene, before);
  });

  it("a write beside a restore that fails is kept if it was answered", async (scene) => {
    const { store } = scene;
    await seedStore(store);
    const before = await snapshot(store);
    let release = () => {};
    const gate = new Promise<void>((resolve) => release = resolve);
    async function* source(): AsyncGenerator<StoreRecord> {
      yield* users(20);
      await gate;
      throw new Error("torn");
    }
    const restoring = store.restore(source(), { replace: true }).catch((error) => error.message);
    const user = newUser();
    const writing = outcomes([store.addUser(user)]);
    setTimeout(release, 20);
    assert.match(await restoring, /torn/);
    const [word] = await writing;
    const after = await snapshot(store);
    assert.equal(after.length, before.length + (word === "ok" ? 1 : 0), `the write: ${word}`);
    assert.equal(await store.isAuthorized(user.signPub), word === "ok");
  }, "atomicRestore");
}

/** What a failed restore must leave: everything, or where declared a store that says in_progress. */
async function unchanged({ store, capabilities }: Scene, before: StoreRecord[]): Promise<void> {
  const found = await snapshot(store).catch((error) => error.code);
  if (!capabilities.atomicRestore && found === "in_progress") {
    await store.restore(before, { replace: true });
    return await unchanged({ store, capabilities } as Scene, before);
  }
  assert.deepEqual(found, plain(before));
  assert.deepEqual(await invariantProblems(store), []);
}

function users(count: number): StoreRecord[] {
  return Array.from({ length: count }, hexKey).sort().map((signPub): StoreRecord => ({
    kind: "users",
    record: {
      signPub,
      kexPub: hexKey(),
      handle: "restored",
      role: "user",
      status: "active",
      createdAt: "2020-02-03T04:05:06.007Z",
      revokedAt: null,
    },
  }));
}

/** Rooms and users can be removed one by one; invites only with everything else. */
async function removeFrom(store: Store, it: StoreRecord): Promise<void> {
  if (it.kind === "rooms") await store.deleteRoom(it.record.id);
  if (it.kind === "users") await store.deleteUser(it.record.signPub, { force: true });
  if (it.kind === "invites") await store.restore([], { replace: true });
}
