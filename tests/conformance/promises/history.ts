/**
 * The history: one entry for each change, in order, with who made it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { compareRevisionTexts } from "../../../src/core/history/revision.ts";
import type { HistoryEntry } from "../../../src/core/history/entry.ts";
import type { Store } from "../../../src/core/store.ts";
import { claim, collect, fails, hexKey, invite, keysFor } from "../kit/kit.ts";
import { newMember, newRoom, newUser } from "../kit/kit.ts";
import type { It } from "../suite.ts";

/** Every entry, oldest first. */
async function entries(store: Store, query: Parameters<Store["history"]>[0] = {}) {
  const found: HistoryEntry[] = [];
  for (let after: string | null = null;;) {
    const page = await store.history({ ...query, after, limit: 7 });
    found.push(...page.items);
    if (page.next === null) return found;
    after = page.next;
  }
}

/** What an entry says, without revision and time. */
const said = ({ action, user, room, invite }: HistoryEntry) => ({ action, user, room, invite });

/** Makes each kind of change once; returns what must be told of each. */
async function everyChange(store: Store): Promise<ReturnType<typeof said>[]> {
  const told: ReturnType<typeof said>[] = [];
  const tell = (action: HistoryEntry["action"], about: Partial<ReturnType<typeof said>> = {}) =>
    told.push({ action, user: null, room: null, invite: null, ...about });
  const admin = newUser({ role: "admin" });
  await store.addUser(admin);
  tell("user.added", { user: admin.signPub });
  const { signPub: user } = await store.addUser(newUser());
  tell("user.added", { user });
  await store.revokeUser(user);
  tell("user.revoked", { user });
  await store.restoreUser(user);
  tell("user.restored", { user });
  await store.setUserRole(user, "admin");
  tell("user.role_changed", { user });
  await store.deleteUser(user);
  tell("user.deleted", { user });

  const first = await invite(store);
  tell("invite.created", { invite: first.invite.id });
  const who = claim();
  await store.consumeInvite(first.token, who);
  tell("invite.claimed", { invite: first.invite.id, user: who.signPub });
  const second = await invite(store);
  tell("invite.created", { invite: second.invite.id });
  await fails("user_exists", () => store.consumeInvite(second.token, who));
  tell("invite.spent", { invite: second.invite.id, user: who.signPub });
  const third = await invite(store);
  tell("invite.created", { invite: third.invite.id });
  await store.cancelInvite(third.invite.id);
  tell("invite.canceled", { invite: third.invite.id });

  const [owner, member] = [newMember(), newMember()];
  const room = "history.room";
  await store.createRoom(newRoom(room, { owner }));
  tell("room.created", { room, user: owner.endpoint });
  await store.addMember(room, { ...member, accepted: false });
  tell("member.added", { room, user: member.endpoint });
  await store.joinRoom(room, member.endpoint);
  tell("member.joined", { room, user: member.endpoint });
  await store.rekeyRoom(room, { epoch: 2, sealedKeys: keysFor([owner, member]) });
  tell("room.rekeyed", { room });
  const [key] = keysFor([member]);
  await store.putSealedKey({ roomId: room, epoch: 2, ...key! });
  tell("key.stored", { room, user: member.endpoint });
  await store.rekeyRoom(room, { epoch: 3, sealedKeys: keysFor([owner, member]) });
  tell("room.rekeyed", { room });
  assert.equal(await store.pruneSealedKeys(room, 2), 1);
  tell("keys.pruned", { room });
  await store.changeRoomOwner(room, member.endpoint);
  tell("room.owner_changed", { room, user: member.endpoint });
  const extra = newMember();
  await store.addMember(room, extra);
  tell("member.added", { room, user: extra.endpoint });
  await store.removeMember(room, extra.endpoint);
  tell("member.removed", { room, user: extra.endpoint });
  await store.deleteRoom(room);
  tell("room.deleted", { room });
  return told;
}

/** The tests. */
export function history(it: It): void {
  it(
    "each change has one entry, in order, and later entries have greater revisions",
    async (scene) => {
      const { store, clock } = scene;
      const told = await everyChange(store);
      const found = await entries(store);
      assert.deepEqual(found.map(said), told);
      for (const [i, entry] of found.entries()) {
        assert.equal(entry.at, clock.iso());
        if (i > 0) assert.ok(compareRevisionTexts(found[i - 1]!.revision, entry.revision) < 0);
      }
      const newest = await store.history({ newest: true, limit: 1000 });
      assert.deepEqual(newest.items, found.toReversed());
      assert.equal(newest.next, null);
    },
    "history",
  );

  it("what changes nothing, and what fails, has no entry", async ({ store }) => {
    const admin = newUser({ role: "admin" });
    await store.addUser(admin);
    const { signPub } = await store.addUser(newUser());
    const made = await invite(store);
    await store.cancelInvite(made.invite.id);
    const before = (await entries(store)).length;
    await store.restoreUser(signPub);
    await store.setUserRole(signPub, "user");
    await store.cancelInvite(made.invite.id);
    await store.pruneInvites("2020-01-01T00:00:00.000Z");
    await fails("user_exists", () => store.addUser(admin));
    await fails("last_admin", () => store.revokeUser(admin.signPub));
    await fails("not_found", () => store.deleteUser(hexKey()));
    await fails("invite_canceled", () => store.consumeInvite(made.token, claim()));
    assert.equal((await entries(store)).length, before);
  }, "history");

  it("entries can be chosen by user, room, invite, action, time and revision", async (scene) => {
    const { store, clock } = scene;
    const { signPub: user } = await store.addUser(newUser());
    await store.addUser(newUser());
    clock.now += 60_000;
    await store.revokeUser(user);
    const made = await invite(store);
    const owner = newMember();
    await store.createRoom(newRoom("chosen", { owner }));
    const all = await entries(store);
    const actions = async (query: Parameters<Store["history"]>[0]) =>
      (await entries(store, query)).map(({ action }) => action);
    assert.deepEqual(await actions({ user }), ["user.added", "user.revoked"]);
    assert.deepEqual(await actions({ user: user.toUpperCase() }), ["user.added", "user.revoked"]);
    assert.deepEqual(await actions({ room: "chosen" }), ["room.created"]);
    assert.deepEqual(await actions({ invite: made.invite.id }), ["invite.created"]);
    assert.deepEqual(await actions({ action: "user.added" }), ["user.added", "user.added"]);
    assert.deepEqual(await actions({ user, action: "user.revoked" }), ["user.revoked"]);
    assert.deepEqual(await actions({ user: hexKey() }), []);
    const since = await actions({ since: clock.iso() });
    assert.deepEqual(since, ["user.revoked", "invite.created", "room.created"]);
    const between = { after: all[0]!.revision, before: all[3]!.revision };
    assert.deepEqual((await store.history(between)).items, all.slice(1, 3));
    const back = await store.history({ newest: true, before: all[3]!.revision, limit: 2 });
    assert.deepEqual(back.items, [all[2], all[1]]);
    assert.equal(back.next, all[1]!.revision);
    await fails("invalid", () => store.history({ after: "12" }));
    await fails("invalid", () => store.history({ limit: 0 }));
    await fails("invalid", () => store.history({ action: "user.hacked" as "user.added" }));
  }, "history");

  it(
    "following returns every change once and in order, and continues where it ended",
    async (scene) => {
      const { store } = scene;
      await store.addUser(newUser({ role: "admin" }));
      const end = new AbortController();
      const seen: HistoryEntry[] = [];
      const following = (async () => {
        for await (const entry of store.follow({ after: null, signal: end.signal })) {
          if (seen.push(entry) === 21) return end.abort();
        }
      })();
      const users = Array.from({ length: 20 }, () => newUser());
      await Promise.all(users.map((user) => store.addUser(user)));
      await following;
      assert.deepEqual(seen, await entries(store));
      const rest = [];
      for await (const entry of store.follow({ after: seen[10]!.revision })) {
        rest.push(entry);
        if (rest.length === 10) break;
      }
      assert.deepEqual(rest, seen.slice(11));
    },
    "history",
  );

  it("two handles have one history", async ({ store, open }) => {
    const other = await open();
    const end = new AbortController();
    const seen: string[] = [];
    const [one, two] = [newUser(), newUser()];
    const following = (async () => {
      for await (const { user } of other.follow({ after: null, signal: end.signal })) {
        if (seen.push(user!) === 2) end.abort();
      }
    })();
    await store.addUser(one);
    await other.addUser(two);
    await following;
    assert.deepEqual(seen, [one.signPub, two.signPub]);
    assert.deepEqual(await entries(store), await entries(other));
  }, "history");

  it(
    "a pruned history says where it was cut, and following from before it fails",
    async (scene) => {
      const { store, clock } = scene;
      await store.addUser(newUser());
      await store.addUser(newUser());
      clock.now += 60_000;
      await store.addUser(newUser());
      const before = await entries(store);
      assert.equal(await store.pruneHistory({ before: clock.iso() }), 2);
      const after = await entries(store);
      assert.deepEqual(after.slice(0, 1), before.slice(2));
      assert.equal(after[1]!.action, "history.pruned");
      assert.equal(after[1]!.after!.count, 2);
      assert.equal(after[1]!.after!.upTo, before[1]!.revision);
      assert.equal(after.length, 2);
      await fails("too_old", () => store.history({ after: before[0]!.revision }));
      await fails("too_old", () => collect(store.follow({ after: before[0]!.revision })));
      assert.deepEqual((await store.history({ after: before[1]!.revision })).items, after);
      assert.equal(await store.pruneHistory({ before: before[0]!.at }), 0);
      assert.equal(await store.pruneHistory({ keep: 1 }), 1);
      assert.equal((await entries(store)).length, 2);
      await fails("invalid", () => store.pruneHistory({}));
    },
    "history",
  );

  it(
    "a store in somebody's name tells who changed what, and which revision that was",
    async (scene) => {
      const { store } = scene;
      const ada = hexKey();
      const mine = store.as(ada);
      assert.equal(mine.revision, null);
      const { signPub: user } = await mine.addUser(newUser());
      const [first] = await entries(store);
      assert.equal(first!.by, ada);
      assert.equal(mine.revision, first!.revision);
      await mine.restoreUser(user);
      assert.equal(mine.revision, first!.revision);
      await store.revokeUser(user);
      const last = (await entries(store)).at(-1)!;
      if (scene.capabilities.anyValue) assert.equal(last.by, "library");
      assert.deepEqual((await store.history({ by: last.by })).items, [last]);
      assert.deepEqual((await store.history({ by: ada })).items, [first]);
      await store.reach(first!.revision);
      const [generation] = first!.revision.split(".");
      await fails("unavailable", () => store.reach(`${generation}.999999999999`));
      // It did no harm.
      assert.equal((await store.getUser(user)).status, "revoked");
      assert.throws(() => store.as(""), { code: "invalid" });
    },
    "history",
  );

  it("in a closed store every method of the history says so", async ({ store }) => {
    await store.addUser(newUser());
    const following = collect(store.follow({ after: null }));
    const ended = fails("closed", () => following);
    await store.close();
    await ended;
    await fails("closed", () => store.history());
    await fails("closed", () => collect(store.follow()));
    await fails("closed", () => store.reach("0.0"));
    await fails("closed", () => store.pruneHistory({ keep: 1 }));
    await fails("closed", () => store.as("ada").addUser(newUser()));
  }, "history");

  it("entries are there when the store is opened again", async ({ store, reopen }) => {
    await everyChange(store);
    const before = await entries(store);
    assert.deepEqual(await entries(await reopen()), before);
  }, "history");
}
