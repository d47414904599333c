/**
 * Rotates a room's key after a member has left: a new epoch, its key sealed for those who stay.
 *
 * The store keeps sealed keys and cannot open them; whoever owns the room makes the key and seals it.
 * `@unibus/membership/client` does all of this in one call (see chat.ts); here it is by hand.
 *
 *     deno run examples/rotate_room_key.ts
 *
 * @module
 */

import { openSqlite, type Store, StoreError } from "@unibus/membership";

/** Seals the room key for one member. */
export type Seal = (member: { endpoint: string; kexPub: string }) => Uint8Array;

/**
 * Takes `leaver` out and moves the room to its next epoch.
 *
 * @param seal Seals the new key for a member; see `docs/sealing.md`
 * @returns The new epoch
 */
export async function rotate(
  store: Store,
  roomId: string,
  leaver: string,
  seal: Seal,
): Promise<number> {
  try {
    await store.removeMember(roomId, leaver);
  } catch (error) {
    // Gone already: an earlier try got this far.
    if (!(error instanceof StoreError && error.code === "not_found")) throw error;
  }
  for (;;) {
    const { epoch } = await store.getRoom(roomId);
    const sealedKeys: { endpoint: string; sealedKey: Uint8Array }[] = [];
    for await (const member of store.members(roomId)) {
      sealedKeys.push({ endpoint: member.endpoint, sealedKey: seal(member) });
    }
    try {
      return (await store.rekeyRoom(roomId, { epoch: epoch + 1, sealedKeys })).epoch;
    } catch (error) {
      // Somebody else rotated, joined or left meanwhile: look again.
      const isChanged = error instanceof StoreError &&
        (error.code === "conflict" || error.code === "missing_key");
      if (!isChanged) throw error;
    }
  }
}

if (import.meta.main) {
  await using store = openSqlite(":memory:");
  const member = (name: string) => ({ endpoint: name.repeat(32), kexPub: "c3".repeat(32) });
  const [ada, bob, eve] = [member("a1"), member("b2"), member("e5")];
  const seal: Seal = ({ endpoint }) => new TextEncoder().encode(`sealed for ${endpoint}`);
  await store.createRoom({
    id: "lounge",
    subject: "room.lounge",
    owner: ada,
    members: [bob, eve],
    sealedKeys: [ada, bob, eve].map((it) => ({ endpoint: it.endpoint, sealedKey: seal(it) })),
  });
  const epoch = await rotate(store, "lounge", eve.endpoint, seal);
  console.log(`epoch ${epoch}`);
  console.log("bob has", (await store.getSealedKey("lounge", bob.endpoint)).epoch);
  // What she had she keeps: it opens what was sent before.
  console.log("eve has", (await store.getSealedKey("lounge", eve.endpoint)).epoch);
}
