/**
 * Races that exactly one may win, through one handle and through several.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Store } from "../../../src/core/store.ts";
import { invariantProblems } from "../kit/invariants.ts";
import {
  claim,
  fails,
  hex,
  hexKey,
  invite,
  keysFor,
  newMember,
  newRoom,
  newUser,
} from "../kit/kit.ts";
import { outcomes, retrying, tally } from "../kit/kit.ts";
import { handles, type It } from "../suite.ts";

/** Registers the tests of races. */
export function concurrency(it: It): void {
  it("consumeInvite() is single-use under 64 concurrent claims", async ({ store }) => {
    const { token, invite: made } = await invite(store, "admin");
    const claims = Array.from({ length: 64 }, () => claim());
    const ended = await outcomes(claims.map((who) => store.consumeInvite(token, who)));
    assert.deepEqual(tally(ended), { invite_used: 63, ok: 1 });
    const winner = claims[ended.indexOf("ok")]!.signPub;
    assert.deepEqual((await store.listUsers()).items.map((u) => u.signPub), [winner]);
    assert.equal((await store.getInvite(made.id)).usedBy, winner);
    assert.equal(await store.isAuthorized(winner), true);
  });

  it("consumeInvite() is single-use under 64 claims through several handles", async (scene) => {
    const stores = await handles(scene);
    const { token, invite: made } = await invite(scene.store);
    const claims = Array.from({ length: 64 }, () => claim());
    const ended = await outcomes(
      claims.map((who, i) => stores[i % stores.length]!.consumeInvite(token, who)),
    );
    assert.deepEqual(tally(ended), { invite_used: 63, ok: 1 });
    const winner = claims[ended.indexOf("ok")]!.signPub;
    assert.deepEqual((await scene.store.listUsers()).items.map((u) => u.signPub), [winner]);
    assert.equal((await scene.store.getInvite(made.id)).usedBy, winner);
  });

  it("one key that claims two invites becomes one user, and both are spent", async (scene) => {
    const stores = await handles(scene, 2);
    const who = claim();
    const made = await Promise.all([invite(scene.store), invite(scene.store, "admin")]);
    const ended = await outcomes(
      made.map((it, i) => stores[i % stores.length]!.consumeInvite(it.token, who)),
    );
    assert.deepEqual(tally(ended), { ok: 1, user_exists: 1 });
    assert.equal((await scene.store.listUsers()).items.length, 1);
    const role = (await scene.store.getUser(who.signPub)).role;
    assert.equal(role, made[ended.indexOf("ok")]!.invite.role);
    for (const { invite } of made) {
      assert.equal((await scene.store.getInvite(invite.id)).usedBy, who.signPub);
    }
  });

  it("an invite that is claimed and canceled at once is one or the other", async (scene) => {
    const stores = await handles(scene, 2);
    for (let round = 0; round < 8; round++) {
      const { token, invite: made } = await invite(scene.store);
      const who = claim();
      const [claimed, canceled] = await outcomes([
        stores[round % stores.length]!.consumeInvite(token, who),
        scene.store.cancelInvite(made.id),
      ]);
      const found = await scene.store.getInvite(made.id);
      assert.equal(found.usedAt !== null, claimed === "ok");
      assert.equal(found.canceledAt !== null, canceled === "ok");
      assert.equal(
        await scene.store.getUser(who.signPub).then(() => true, () => false),
        claimed === "ok",
      );
      const words = [claimed, canceled].join();
      assert.ok(words === "ok,invite_used" || words === "invite_canceled,ok", words);
    }
  });

  it("addUser() of one key from 32 callers adds one user", async (scene) => {
    const stores = await handles(scene);
    const signPub = hexKey();
    const users = Array.from({ length: 32 }, (_, i) => newUser({ signPub, handle: `u${i}` }));
    const ended = await outcomes(users.map((u, i) => stores[i % stores.length]!.addUser(u)));
    assert.deepEqual(tally(ended), { ok: 1, user_exists: 31 });
    const user = await scene.store.getUser(signPub);
    assert.equal(user.handle, `u${ended.indexOf("ok")}`);
  });

  it("createRoom() of one id from 16 callers makes one room, whole", async (scene) => {
    const stores = await handles(scene);
    const rooms = Array.from({ length: 16 }, () => newRoom("r", { members: [newMember()] }));
    const ended = await outcomes(rooms.map((r, i) => stores[i % stores.length]!.createRoom(r)));
    assert.deepEqual(tally(ended), { ok: 1, room_exists: 15 });
    const winner = rooms[ended.indexOf("ok")]!;
    const endpoints = [winner.owner, ...winner.members!].map((m) => m.endpoint).sort();
    const { items } = await scene.store.listMembers("r");
    assert.deepEqual(items.map((m) => m.endpoint), endpoints);
    assert.deepEqual(await invariantProblems(scene.store, { everyMemberHasKey: true }), []);
  });

  it("rekeyRoom() to one epoch has one winner, and the keys are all its own", async (scene) => {
    const stores = await handles(scene);
    const room = newRoom("r", { members: [newMember(), newMember()] });
    const who = [room.owner, ...room.members!];
    await scene.store.createRoom(room);
    for (const epoch of [2, 3]) {
      const rekeys = Array.from({ length: 12 }, () => ({ epoch, sealedKeys: keysFor(who) }));
      const ended = await outcomes(
        rekeys.map((rekey, i) => stores[i % stores.length]!.rekeyRoom("r", rekey)),
      );
      assert.deepEqual(tally(ended), { conflict: 11, ok: 1 });
      const winner = rekeys[ended.indexOf("ok")]!;
      const { items } = await scene.store.listSealedKeys("r", { epoch });
      assert.equal(items.length, 3);
      for (const key of winner.sealedKeys) {
        const stored = items.find((k) => k.endpoint === key.endpoint);
        assert.equal(hex(stored!.sealedKey), hex(key.sealedKey));
      }
      assert.equal((await scene.store.getRoom("r")).epoch, epoch);
    }
  });

  it("two admins who take each other's rights: one has none, one is the last", async (scene) => {
    const stores = await handles(scene, 2);
    const ways: ((store: Store, signPub: string) => Promise<unknown>)[] = [
      (store, signPub) => store.revokeUser(signPub),
      (store, signPub) => store.deleteUser(signPub),
      (store, signPub) => store.setUserRole(signPub, "user"),
    ];
    for (const way of ways) {
      const [a, b] = [newUser({ role: "admin" }), newUser({ role: "admin" })];
      await scene.store.addUser(a);
      await scene.store.addUser(b);
      const ended = await outcomes([
        retrying(() => way(stores[0]!, b.signPub)),
        retrying(() => way(stores[stores.length - 1]!, a.signPub)),
      ]);
      assert.deepEqual(tally(ended), { last_admin: 1, ok: 1 });
      assert.equal(await scene.store.hasAdmin(), true);
      for (const { signPub } of [a, b]) {
        await scene.store.deleteUser(signPub, { force: true }).catch(() => {});
      }
      assert.equal((await scene.store.listUsers()).items.length, 0);
    }
  });

  it("of 8 admins revoked, deleted and demoted at once one stays", async (scene) => {
    const stores = await handles(scene);
    const admins = Array.from({ length: 8 }, () => newUser({ role: "admin" }));
    for (const admin of admins) await scene.store.addUser(admin);
    const ended = await outcomes(admins.map(({ signPub }, i) => {
      const store = stores[i % stores.length]!;
      const ways = [
        () => store.revokeUser(signPub),
        () => store.deleteUser(signPub),
        () => store.setUserRole(signPub, "user"),
      ];
      return retrying<unknown>(ways[i % 3]!);
    }));
    assert.deepEqual(tally(ended), { last_admin: 1, ok: 7 });
    const left = (await scene.store.listUsers()).items.filter((it) =>
      it.status === "active" && it.role === "admin"
    );
    assert.deepEqual(left.map((u) => u.signPub), [admins[ended.indexOf("last_admin")]!.signPub]);
    await fails("last_admin", scene.store.revokeUser(left[0]!.signPub));
  });

  it("pruning beside rekeys and claims loses none of them", async (scene) => {
    const stores = await handles(scene);
    const { store } = scene;
    const room = newRoom("r", { members: [newMember()] });
    const all = [room.owner, ...room.members!];
    await store.createRoom(room);
    const made = await Promise.all(Array.from({ length: 24 }, () => invite(store)));
    const over = `${Number(scene.clock.iso().slice(0, 4)) + 1}-01-01T00:00:00.000Z`;
    let done = false;
    const pruning = Promise.all(stores.map(async (it) => {
      while (!done) {
        await retrying(() => it.pruneSealedKeys("r", 2));
        await retrying(() => it.pruneInvites(over));
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    }));
    const work = (async () => {
      for (let epoch = 2; epoch <= 14; epoch++) {
        await retrying(() => store.rekeyRoom("r", { epoch, sealedKeys: keysFor(all) }));
      }
      return await outcomes(
        made.map(({ token }, i) =>
          retrying(() => stores[i % stores.length]!.consumeInvite(token, claim()))
        ),
      );
    })().finally(() => done = true);
    const [ended] = await Promise.all([work, pruning]);
    assert.deepEqual(tally(ended), { ok: 24 });
    await store.pruneSealedKeys("r", 2);
    const left = (await store.listSealedKeys("r")).items.map((it) => it.epoch);
    assert.deepEqual(left, [13, 13, 14, 14]);
    assert.equal((await store.listUsers()).items.length, 24);
  });
}
