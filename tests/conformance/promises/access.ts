/**
 * Being told of changes of access: by oneself, by another handle, in time for what is read then.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { AccessChange } from "../../../src/core/model.ts";
import type { Store } from "../../../src/core/store.ts";
import { claim, collect, eventually, fails, invite, keysFor } from "../kit/kit.ts";
import { newMember, newRoom, newUser } from "../kit/kit.ts";
import { handles, type It } from "../suite.ts";

/** What a listener was told. */
class Told {
  changes: AccessChange[] = [];
  readonly listener = (change: AccessChange): void => void this.changes.push(change);

  /** Waits until a change of `what` has been told since the last time this was asked. */
  async of(name: string, ...what: AccessChange[]): Promise<void> {
    const covers = (it: AccessChange, wanted: AccessChange) =>
      it.endpoint === wanted.endpoint && it.roomId === wanted.roomId ||
      it.endpoint === undefined && it.roomId === undefined;
    await eventually(
      `told of ${name}`,
      () => Promise.resolve(what.every((it) => this.changes.some((told) => covers(told, it)))),
    );
    this.changes = [];
  }
}

/** Waits until nothing more comes: a listener may be told once more when the store has been read. */
async function settled(store: Store, told: Told): Promise<void> {
  await eventually("healthy", async () => (await store.health()).ok);
  const before = newUser();
  await store.addUser(before);
  await told.of("a first change", { endpoint: before.signPub });
  await store.deleteUser(before.signPub);
  await told.of("its end", { endpoint: before.signPub });
}

/** Each kind of change through `store`, and what must be told of it. */
async function everyChange(
  store: Store,
  expect: (name: string, ...what: AccessChange[]) => Promise<void>,
): Promise<void> {
  const user = newUser();
  const endpoint = user.signPub;
  await store.addUser(user);
  await expect("addUser", { endpoint });
  await store.revokeUser(endpoint);
  await expect("revokeUser", { endpoint });
  await store.restoreUser(endpoint);
  await expect("restoreUser", { endpoint });
  await store.setUserRole(endpoint, "admin");
  await expect("promotion", { endpoint });
  await store.setUserRole(endpoint, "user", { force: true });
  await expect("demotion", { endpoint });
  const who = claim();
  const { token } = await invite(store);
  await store.consumeInvite(token, who);
  await expect("consumeInvite", { endpoint: who.signPub });
  const room = newRoom("r", { members: [newMember()] });
  const first = room.members![0]!.endpoint;
  await store.createRoom(room);
  await expect("createRoom", { roomId: "r" }, { endpoint: room.owner.endpoint }, {
    endpoint: first,
  });
  const guest = newMember();
  await store.addMember("r", { ...guest, accepted: false });
  await expect("an offer", { endpoint: guest.endpoint });
  await store.joinRoom("r", guest.endpoint);
  await expect("joinRoom", { endpoint: guest.endpoint });
  await store.changeRoomOwner("r", first);
  await expect("changeRoomOwner", { endpoint: room.owner.endpoint }, { endpoint: first });
  const late = newMember();
  await store.addMember("r", late, { epoch: 1, sealedKey: keysFor([late])[0]!.sealedKey });
  await expect("addMember", { endpoint: late.endpoint });
  await store.removeMember("r", late.endpoint);
  await expect("removeMember", { endpoint: late.endpoint });
  await store.deleteRoom("r");
  await expect("deleteRoom", { roomId: "r" }, { endpoint: guest.endpoint }, { endpoint: first });
  await store.deleteUser(endpoint);
  await expect("deleteUser", { endpoint });
  const records = await collect(store.records());
  await store.restore(records, { replace: true });
  await expect("restore", {});
}

/** Registers the tests of being told. */
export function access(it: It): void {
  it("watchAccess() tells of every change this handle makes", async ({ store }) => {
    const told = new Told();
    store.watchAccess(told.listener);
    await settled(store, told);
    await everyChange(store, (name, ...what) => told.of(name, ...what));
  });

  it("watchAccess() tells of every change another handle makes", async ({ store, open }) => {
    const other = await open();
    const told = new Told();
    other.watchAccess(told.listener);
    await settled(other, told);
    await everyChange(store, (name, ...what) => told.of(name, ...what));
  }, "multipleHandles");

  it("watchAccess() tells from its first moment on, however busy it is", async (scene) => {
    const stores = await handles(scene, 2);
    const users = Array.from({ length: 60 }, () => newUser());
    const told = new Told();
    const writing = Promise.all(users.map((user) => stores[0]!.addUser(user)));
    stores.at(-1)!.watchAccess(told.listener);
    const last = newUser();
    await stores[0]!.addUser(last);
    await told.of("the one after it began", { endpoint: last.signPub });
    await writing;
  });

  it("what a listener reads when it is told is as new as what it was told of", async (scene) => {
    const stores = await handles(scene, 2);
    const [writer, reader] = [stores[0]!, stores.at(-1)!];
    await writer.createRoom(newRoom("r"));
    const who = newMember();
    // Read only when told to: in the end the last thing read must be how it ended.
    let seen: unknown;
    let reads: Promise<void> = Promise.resolve();
    reader.watchAccess(() => {
      reads = reads.then(async () => {
        const { items } = await reader.listRoomsForEndpoint(who.endpoint);
        const member = await reader.getMember("r", who.endpoint).then(() => true, () => false);
        seen = { rooms: items.length, member, active: await reader.isAuthorized(who.endpoint) };
      });
      // One that is told when the test has ended reads from a closed store.
      reads.catch(() => {});
    });
    const user = newUser({ signPub: who.endpoint });
    for (let round = 0; round < 6; round++) {
      await writer.addUser(user);
      await writer.addMember("r", who);
      await eventually(`in, round ${round}`, async () => {
        await reads;
        return JSON.stringify(seen) === '{"rooms":1,"member":true,"active":true}';
      });
      await writer.removeMember("r", who.endpoint);
      await writer.deleteUser(who.endpoint);
      await eventually(`out, round ${round}`, async () => {
        await reads;
        return JSON.stringify(seen) === '{"rooms":0,"member":false,"active":false}';
      });
    }
  });

  it("a listener that throws or rejects harms neither the store nor other listeners", async (scene) => {
    const { store } = scene;
    let thrown = 0;
    store.watchAccess(() => {
      thrown++;
      throw new Error("A listener's own");
    });
    store.watchAccess(() => Promise.reject(new Error("A listener's own")));
    const told = new Told();
    store.watchAccess(told.listener);
    await settled(store, told);
    const user = newUser();
    await store.addUser(user);
    await told.of("addUser", { endpoint: user.signPub });
    await store.revokeUser(user.signPub);
    await told.of("revokeUser", { endpoint: user.signPub });
    assert.ok(thrown >= 2);
    assert.equal(await store.isAuthorized(user.signPub), false);
  });

  it("a listener that ended is not called again; others are, and close() ends all", async (scene) => {
    const { store } = scene;
    const [first, second] = [new Told(), new Told()];
    const end = store.watchAccess(first.listener);
    store.watchAccess(second.listener);
    await settled(store, second);
    end();
    end();
    first.changes = [];
    const user = newUser();
    await store.addUser(user);
    await second.of("addUser", { endpoint: user.signPub });
    assert.deepEqual(first.changes, []);
    await store.close();
    second.changes = [];
    const other = await scene.open().catch(() => null);
    await other?.addUser(newUser());
    await other?.getUser(user.signPub).catch(() => {});
    assert.deepEqual(second.changes, []);
  });

  it("a listener may end itself and begin another while it is called", async ({ store }) => {
    const told = new Told();
    const calls: string[] = [];
    const end = store.watchAccess(() => {
      calls.push("first");
      end();
      store.watchAccess(told.listener);
    });
    const [a, b] = [newUser(), newUser()];
    await store.addUser(a);
    await eventually("the first was called", () => Promise.resolve(calls.length > 0));
    await store.addUser(b);
    await told.of("addUser", { endpoint: b.signPub });
    assert.deepEqual(calls, ["first"]);
  });

  it("watchAccess() refuses what is no function, and a closed store", async ({ store }) => {
    await fails("invalid", () => Promise.resolve(store.watchAccess(null as never)), "listener");
    await store.close();
    await fails("closed", () => Promise.resolve(store.watchAccess(() => {})));
  });
}
