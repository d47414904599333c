/** What the first version wrote, kept as it was: whatever comes later must still open it. */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import {
  cardOf,
  exportIdentity,
  identityFromSeed,
  readCard,
  unlockIdentity,
} from "../../src/client/mod.ts";
import { openMessage, readHeader, sessionKey } from "../../src/sealing/message.ts";
import { openRoomKey } from "../../src/sealing/sealed_key.ts";
import { withBoth } from "./parts.ts";
import fixture from "../fixtures/sealing-v1.json" with { type: "json" };

const hex = (text: string) => new Uint8Array(Buffer.from(text, "hex"));
const owner = identityFromSeed(hex(fixture.ownerSeed));
const member = identityFromSeed(hex(fixture.memberSeed));
const { roomId, epoch } = fixture;

withBoth("the sealed key of version 1 opens as the room key it holds", async (parts) => {
  const { primitives: p, keysOf } = parts;
  const sealed = hex(fixture.sealedKey);
  const key = await openRoomKey(p, await keysOf(member), { roomId, epoch }, owner.signPub, sealed);
  assert.equal(Buffer.from(key).toString("hex"), fixture.roomKey);
});

withBoth("messages of version 1 open", async ({ primitives: p }) => {
  const opened = await Promise.all(fixture.messages.map(async (it) => {
    const bytes = hex(it);
    const header = readHeader(bytes);
    const secrets = await sessionKey(p, hex(fixture.roomKey), header);
    const data = await openMessage(p, bytes, header, secrets);
    return { ...header, session: header.session.length, text: Buffer.from(data).toString() };
  }));
  const common = { epoch, sender: owner.signPub, session: 32, roomId };
  assert.deepEqual(opened, [
    { kind: "content", seq: 0, sentAt: 1_795_255_200_000, text: "soup is ready", ...common },
    { kind: "rekeyed", seq: 1, sentAt: 1_795_255_200_001, text: "", ...common },
  ]);
});

Deno.test("an identity of version 2 and a card of version 1 are read", async () => {
  const text = JSON.stringify(fixture.lockedIdentity);
  const read = await unlockIdentity(text, fixture.passphrase);
  assert.equal(exportIdentity(read), exportIdentity(member));
  assert.deepEqual(readCard(fixture.card), { endpoint: member.signPub, kexPub: member.kexPub });
  // Ed25519 signs the same way each time.
  assert.equal(cardOf(member), fixture.card);
});
