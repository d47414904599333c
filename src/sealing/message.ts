/**
 * Messages of a room, sealed with its key. `docs/sealing.md` describes the format.
 *
 * Each sender derives a separate key for each epoch and session (a run of its program), so that no key
 * and nonce are ever used twice, even if state is lost between runs. The header is authenticated, and
 * the message is signed: members share the room key, so without a signature each could impersonate the
 * others.
 *
 * @module
 */

import { FIRST_BYTES } from "../keys/forms.ts";
import * as check from "../core/validate.ts";
import { concat, fromHex, randomBytes, sized, toHex, uint, utf8 } from "../keys/bytes.ts";
import { SealingError } from "./error.ts";
import { type Cipher, type Primitives, type RoomKeys, TAG_BYTES } from "./primitives.ts";

const VERSION = 1;
const SESSION_BYTES = 16;
const NONCE_BYTES = 12;
const SIGNATURE_BYTES = 64;
const SEQ_AT = 54;
const SENT_AT = 62;
const ROOM_AT = 70;

/**
 * The kind of a message: content of the application, the owner's notice of a new key, or a member's notice
 * that it is here.
 */
export type MessageKind = "content" | "rekeyed" | "here";
const KINDS: readonly MessageKind[] = ["content", "rekeyed", "here"];

/** The header of a message, in cleartext. It is not authenticated until the message is opened. */
export interface MessageHeader {
  /** The kind. */
  kind: MessageKind;
  /** The epoch of the key. */
  epoch: number;
  /** Endpoint of the sender, who signed it, hex. */
  sender: string;
  /** Identifies a run of the sender's program, hex. */
  session: string;
  /** Its number within the session, from 0. */
  seq: number;
  /** When it was sealed, by the sender's clock, milliseconds since 1970. */
  sentAt: number;
  /** The room. */
  roomId: string;
}

/** Returns the number of bytes by which a sealed message of a room is longer than its content. */
export function messageOverhead(roomId: string): number {
  return ROOM_AT + 2 + utf8(roomId).length + TAG_BYTES + SIGNATURE_BYTES;
}

/** The secrets of one sender's session. */
export interface SessionKey {
  cipher: Cipher;
  /** Signed with each message but never sent, so that the signature is valid only with this room key. */
  commitment: Uint8Array;
}

/** Derives the secrets of a session from the room key. */
export async function sessionKey(
  primitives: Pick<Primitives, "hkdf" | "aesGcm">,
  roomKey: Uint8Array,
  { roomId, epoch, sender, session }: Place,
): Promise<SessionKey> {
  const info = concat(
    utf8("unibus message v1\0"),
    sized(roomId),
    uint(epoch, 4),
    fromHex(sender),
  );
  const all = await primitives.hkdf(roomKey, fromHex(session), info, 64);
  return { cipher: await primitives.aesGcm(all.subarray(0, 32)), commitment: all.subarray(32) };
}

/** Where and by whom the messages of a session are sealed. */
type Place = Pick<MessageHeader, "roomId" | "epoch" | "sender" | "session">;

/** Returns the header of all messages of a session, with zeros where they differ. */
function frontOf({ roomId, epoch, sender, session }: Place) {
  return concat(
    Uint8Array.of(VERSION, 0),
    uint(epoch, 4),
    fromHex(sender),
    fromHex(session),
    new Uint8Array(16),
    sized(roomId),
  );
}

/** Returns the header of one message. */
function headerBytes(front: Uint8Array, { kind, seq, sentAt }: MessageHeader): Uint8Array {
  const bytes = new Uint8Array(front);
  bytes[1] = KINDS.indexOf(kind);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(SEQ_AT, BigInt(seq));
  view.setBigUint64(SENT_AT, BigInt(sentAt));
  return bytes;
}

function nonceOf(seq: number): Uint8Array {
  const nonce = new Uint8Array(NONCE_BYTES);
  new DataView(nonce.buffer).setBigUint64(NONCE_BYTES - 8, BigInt(seq));
  return nonce;
}

const SIGNATURE_OF = utf8(FIRST_BYTES.message);

function signed({ commitment }: SessionKey, body: Uint8Array): Uint8Array {
  return concat(SIGNATURE_OF, commitment, body);
}

/** A sealed message with its header. */
export interface SealedMessage {
  header: MessageHeader;
  bytes: Uint8Array;
}

/** Seals the messages of one sender with one room key, in one session. */
export class MessageSealer {
  readonly #primitives: Pick<Primitives, "hkdf" | "aesGcm">;
  readonly #keys: Pick<RoomKeys, "signPub" | "signMessage">;
  readonly #place: Place;
  readonly #roomKey: Uint8Array;
  readonly #front: Uint8Array;
  #secrets: SessionKey | null = null;
  #seq = 0;

  /** Starts a session. */
  constructor(
    primitives: Pick<Primitives, "hkdf" | "aesGcm">,
    keys: Pick<RoomKeys, "signPub" | "signMessage">,
    { roomId, epoch }: { roomId: string; epoch: number },
    roomKey: Uint8Array,
  ) {
    this.#primitives = primitives;
    this.#keys = keys;
    this.#place = {
      roomId: check.roomId("roomId", roomId),
      epoch: check.epoch("epoch", epoch),
      sender: keys.signPub,
      session: toHex(randomBytes(SESSION_BYTES)),
    };
    this.#roomKey = roomKey;
    this.#front = frontOf(this.#place);
  }

  /** The epoch of the key. */
  get epoch(): number {
    return this.#place.epoch;
  }

  /** The session, hex. */
  get session(): string {
    return this.#place.session;
  }

  /** Seals a message with the next number. */
  async seal(
    data: Uint8Array,
    { kind = "content", now = Date.now() }: { kind?: MessageKind; now?: number } = {},
  ): Promise<SealedMessage> {
    // Taken before any wait, so that no two messages have the same number.
    const header = { kind, ...this.#place, seq: this.#seq++, sentAt: now };
    this.#secrets ??= await sessionKey(this.#primitives, this.#roomKey, this.#place);
    const front = headerBytes(this.#front, header);
    const sealed = await this.#secrets.cipher.seal(nonceOf(header.seq), front, data);
    const body = concat(front, sealed);
    const signature = await this.#keys.signMessage(signed(this.#secrets, body));
    return { header, bytes: concat(body, signature) };
  }
}

/**
 * Reads the header of a message, to choose the key.
 *
 * @throws {SealingError} `malformed`; `newer_version`
 */
export function readHeader(bytes: Uint8Array): MessageHeader {
  const malformed = (why: string) => new SealingError("malformed", `The message ${why}`);
  if (bytes.length === 0) throw malformed("is empty");
  if (bytes[0] !== VERSION) {
    throw new SealingError(
      "newer_version",
      `The message has version ${bytes[0]}, this program supports ${VERSION}`,
    );
  }
  if (bytes.length < ROOM_AT + 2 + TAG_BYTES + SIGNATURE_BYTES) throw malformed("is truncated");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const kind = KINDS[view.getUint8(1)];
  const roomBytes = view.getUint16(ROOM_AT);
  const seq = view.getBigUint64(SEQ_AT);
  const sentAt = view.getBigUint64(SENT_AT);
  if (kind === undefined) throw malformed("has an unknown kind");
  if (bytes.length < ROOM_AT + 2 + roomBytes + TAG_BYTES + SIGNATURE_BYTES) {
    throw malformed("is truncated");
  }
  if (seq > Number.MAX_SAFE_INTEGER || sentAt > Number.MAX_SAFE_INTEGER) {
    throw malformed("has a number that is too large");
  }
  try {
    const room = bytes.subarray(ROOM_AT + 2, ROOM_AT + 2 + roomBytes);
    return {
      kind,
      epoch: check.epoch("epoch", view.getUint32(2)),
      sender: check.signPub("sender", toHex(bytes.subarray(6, 38))),
      session: toHex(bytes.subarray(38, 54)),
      seq: Number(seq),
      sentAt: Number(sentAt),
      roomId: check.roomId(
        "roomId",
        new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(room),
      ),
    };
  } catch (cause) {
    throw new SealingError("malformed", "The message has an invalid header", { cause });
  }
}

/**
 * Opens a message, and verifies its header and its sender.
 *
 * @param bytes The message
 * @param header Its header from {@link readHeader}
 * @param secrets The secrets from {@link sessionKey} for that header
 * @throws {SealingError} `tampered`
 */
export async function openMessage(
  { verifies }: Pick<Primitives, "verifies">,
  bytes: Uint8Array,
  header: MessageHeader,
  secrets: SessionKey,
): Promise<Uint8Array> {
  const signatureAt = bytes.length - SIGNATURE_BYTES;
  const body = bytes.subarray(0, signatureAt);
  const what = `Message ${header.seq} from ${header.sender} in room ${header.roomId}`;
  if (!await verifies(header.sender, signed(secrets, body), bytes.subarray(signatureAt))) {
    throw new SealingError("tampered", `${what} was changed, or is not from that sender`);
  }
  const front = ROOM_AT + 2 + utf8(header.roomId).length;
  try {
    const nonce = nonceOf(header.seq);
    return await secrets.cipher.open(nonce, body.subarray(0, front), body.subarray(front));
  } catch (cause) {
    throw new SealingError("tampered", `${what} cannot be decrypted with the room key`, { cause });
  }
}
