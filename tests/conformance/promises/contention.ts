/**
 * Many changes of the same rooms at once: nothing is lost, nothing is orphaned.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Store } from "../../../src/core/store.ts";
import { invariantProblems, recordProblems } from "../kit/invariants.ts";
import { collect, keysFor, newMember, newMembers, newRoom, outcomes } from "../kit/kit.ts";
import { meanwhile, retrying, sealed } from "../kit/kit.ts";
import { handles, type It } from "../suite.ts";

/** Registers the tests of contention. */
export function contention(it: It): void {
  it("32 members added at once are all there", async (scene) => {
    const stores = await handles(scene, 3);
    await scene.store.createRoom(newRoom("r"));
    const who = newMembers(32);
    const ended = await outcomes(who.map((m, i) => {
      const store = stores[i % stores.length]!;
      const key = i % 2 ? { epoch: 1, sealedKey: sealed() } : undefined;
      return retrying(() => store.addMember("r", m, key));
    }));
    assert.deepEqual([...new Set(ended)], ["ok"]);
    assert.equal((await scene.store.listMembers("r")).items.length, 33);
    assert.equal((await scene.store.listSealedKeys("r")).items.length, 17);
    const removed = await outcomes(
      who.map((m, i) =>
        retrying(() => stores[(i + 1) % stores.length]!.removeMember("r", m.endpoint))
      ),
    );
    assert.deepEqual([...new Set(removed)], ["ok"]);
    assert.equal((await scene.store.listMembers("r")).items.length, 1);
    assert.deepEqual(await invariantProblems(scene.store), []);
  });

  it("members come and go while the room is rekeyed: all that was answered holds", async (scene) => {
    const stores = await handles(scene, 3);
    const room = newRoom("r", { members: newMembers(8) });
    await scene.store.createRoom(room);
    const members = new Set([room.owner, ...room.members!].map((m) => m.endpoint));
    const comes = newMembers(10);
    let rekeys = 0;
    const rekey = async (store: Store) => {
      for (let i = 0; i < 6; i++) {
        const now = await store.getRoom("r");
        const { items } = await store.listMembers("r", { limit: 10_000 });
        const sealedKeys = keysFor(items.map((m) => m.endpoint));
        const [word] = await outcomes([
          store.rekeyRoom("r", { epoch: now.epoch + 1, sealedKeys }),
        ]);
        assert.ok(["ok", "conflict", "missing_key"].includes(word!), `${word}`);
        if (word === "ok") rekeys++;
      }
    };
    const add = (store: Store, i: number) =>
      retrying(async () => {
        const { epoch } = await store.getRoom("r");
        await store.addMember("r", comes[i]!, { epoch, sealedKey: sealed() });
        members.add(comes[i]!.endpoint);
      });
    const remove = (store: Store, i: number) =>
      retrying(async () => {
        await store.removeMember("r", room.members![i]!.endpoint);
        members.delete(room.members![i]!.endpoint);
      });
    await Promise.all([
      ...stores.map(rekey),
      ...comes.map((_, i) => add(stores[i % stores.length]!, i)),
      ...room.members!.map((_, i) => remove(stores[(i + 1) % stores.length]!, i)),
    ]);
    assert.equal((await scene.store.getRoom("r")).epoch, 1 + rekeys);
    const found = (await scene.store.listMembers("r")).items.map((m) => m.endpoint);
    assert.deepEqual(found, [...members].sort());
    assert.deepEqual(await invariantProblems(scene.store, { everyMemberHasKey: true }), []);
  });

  it("deleteRoom() against writers of the room leaves nothing orphaned", async (scene) => {
    const stores = await handles(scene, 3);
    for (let round = 0; round < 6; round++) {
      const room = newRoom("r", { members: newMembers(5) });
      const all = [room.owner, ...room.members!];
      await scene.store.createRoom(room);
      const at = (i: number) => stores[i % stores.length]!;
      const writers = [
        ...all.map((m, i) =>
          at(i).putSealedKey({
            roomId: "r",
            epoch: 1,
            endpoint: m.endpoint,
            sealedKey: sealed(),
          })
        ),
        ...newMembers(4).map((m, i) => at(i).addMember("r", m, { epoch: 1, sealedKey: sealed() })),
        ...newMembers(2).map((m, i) => at(i + 1).addMember("r", m)),
        ...room.members!.slice(0, 2).map((m, i) => at(i).removeMember("r", m.endpoint)),
        at(1).rekeyRoom("r", { epoch: 2, sealedKeys: keysFor(all) }),
      ];
      const deleting = retrying(() => at(round).deleteRoom("r"));
      const ended = await outcomes([...writers, deleting]);
      assert.equal(ended.at(-1), "ok");
      const lost = ["not_found", "conflict", "missing_key"];
      for (const word of ended) assert.ok(word === "ok" || lost.includes(word), word);
      assert.deepEqual(await collect(scene.store.records()), []);
      for (const { endpoint } of all) {
        assert.deepEqual((await scene.store.listRoomsForEndpoint(endpoint)).items, []);
      }
    }
  });

  it("a room made and deleted over and over is always whole or absent", async (scene) => {
    const stores = await handles(scene, 3);
    const who = newMembers(3);
    const work = stores.flatMap((store) =>
      [0, 1].map(async () => {
        for (let i = 0; i < 5; i++) {
          const words = await outcomes([
            store.createRoom(newRoom("r", { owner: who[0]!, members: who.slice(1) })),
          ]);
          words.push(...await outcomes([store.deleteRoom("r")]));
          for (const word of words) {
            assert.ok(["ok", "room_exists", "not_found", "conflict"].includes(word), word);
          }
        }
      })
    );
    await meanwhile(async () => {
      const problems = recordProblems(await collect(scene.store.records()));
      assert.deepEqual(problems, []);
    }, Promise.all(work));
    assert.deepEqual(await invariantProblems(scene.store, { everyMemberHasKey: true }), []);
  });

  it("readers see a room whole or not at all while it is made, rekeyed and deleted", async (scene) => {
    const writer = (await handles(scene, 3)).at(-1)!;
    const owner = newMember();
    const work = async () => {
      for (let i = 0; i < 15; i++) {
        const room = newRoom("r", { owner, members: newMembers(30) });
        await writer.createRoom(room);
        const who = [room.owner, ...room.members!];
        await writer.rekeyRoom("r", { epoch: 2, sealedKeys: keysFor(who) });
        await writer.deleteRoom("r");
      }
    };
    const or404 = <T>(read: Promise<T>) =>
      read.catch((error) => {
        if (error.code === "not_found") return null;
        throw error;
      });
    await meanwhile(async () => {
      const members = await or404(scene.store.listMembers("r"));
      assert.ok(
        members === null || members.items.length === 31,
        `${members?.items.length} members`,
      );
      const keys = await or404(scene.store.listSealedKeys("r"));
      assert.ok(
        keys === null || [31, 62].includes(keys.items.length),
        `${keys?.items.length} keys`,
      );
      const mine = (await scene.store.listRoomsForEndpoint(owner.endpoint)).items;
      assert.ok(mine.length <= 1);
    }, work());
  });
}
