/**
 * Control planes to put into snapshots: fixed ones, random ones and large ones.
 *
 * @module
 */

import fc from "fast-check";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import type { Handover, StoreRecord } from "../../src/core/model.ts";
import { compareRecords } from "../../src/core/order.ts";
import { exportSnapshot } from "../../src/snapshot/mod.ts";
import { isSmallOrderEd25519, isSmallOrderX25519 } from "../../src/core/checks/small_order.ts";
import * as check from "../../src/core/validate.ts";

/** 64 hex digits that depend on nothing but the name. */
export function hex(name: string | number): string {
  return createHash("sha256").update(String(name)).digest("hex");
}

const at = (seconds: number) => new Date(Date.UTC(2026, 10, 20) + seconds * 1000).toISOString();

/** In canonical order. */
export function sorted(records: StoreRecord[]): StoreRecord[] {
  return [...records].sort(compareRecords);
}

/** A small control plane with everything in it once: always the same, so a fixture can hold it. */
export function sampleRecords(): StoreRecord[] {
  const [ada, bob, eve] = [hex("ada"), hex("bob"), hex("eve")];
  const member = (roomId: string, endpoint: string, owner: string): StoreRecord => ({
    kind: "members",
    record: {
      roomId,
      endpoint,
      role: endpoint === owner ? "owner" : "member",
      signPub: endpoint,
      kexPub: hex(`kex ${endpoint}`),
      joinedAt: at(2),
      accepted: true,
    },
  });
  const key = (roomId: string, epoch: number, endpoint: string): StoreRecord => ({
    kind: "room_keys",
    record: {
      roomId,
      epoch,
      endpoint,
      sealedKey: new Uint8Array(
        createHash("sha512").update(`${roomId} ${epoch} ${endpoint}`).digest(),
      ),
      createdAt: at(2 + epoch),
    },
  });
  const room = (id: string, owner: string, epoch: number, encrypted = true): StoreRecord => ({
    kind: "rooms",
    record: { id, subject: `chat.${id}`, encrypted, owner, epoch, createdAt: at(1) },
  });
  return sorted([
    room("lobby", ada, 2),
    room("open", bob, 1, false),
    room("größe-部屋-🚪", bob, 1),
    room('quote"back\\slash', ada, 1, false),
    member("lobby", ada, ada),
    member("lobby", bob, ada),
    member("open", bob, bob),
    member("größe-部屋-🚪", bob, bob),
    member('quote"back\\slash', ada, ada),
    key("lobby", 1, ada),
    key("lobby", 1, bob),
    key("lobby", 2, ada),
    key("lobby", 2, bob),
    key("größe-部屋-🚪", 1, bob),
    {
      kind: "users",
      record: {
        signPub: ada,
        kexPub: hex("kex ada"),
        handle: "Ada Ł. 🦊",
        role: "admin",
        status: "active",
        createdAt: at(0),
        revokedAt: null,
      },
    },
    {
      kind: "users",
      record: {
        signPub: eve,
        kexPub: hex("kex eve"),
        handle: "eve",
        role: "user",
        status: "revoked",
        createdAt: at(3),
        revokedAt: at(9),
      },
    },
    {
      kind: "invites",
      record: {
        id: hex("open invite"),
        createdBy: ada,
        role: "user",
        note: "",
        createdAt: at(4),
        expiresAt: at(604_804),
        usedAt: null,
        usedBy: null,
        canceledAt: null,
      },
    },
    {
      kind: "invites",
      record: {
        id: hex("used invite"),
        createdBy: "cli",
        role: "admin",
        note: 'for "eve" \\ ελπίδα',
        createdAt: at(4),
        expiresAt: "not a time",
        usedAt: at(5),
        usedBy: eve,
        canceledAt: null,
      },
    },
    {
      kind: "invites",
      record: {
        id: hex("canceled invite"),
        createdBy: "cli",
        role: "user",
        note: "wrong person",
        createdAt: at(6),
        expiresAt: at(604_806),
        usedAt: null,
        usedBy: null,
        canceledAt: at(7),
      },
    },
  ]);
}

/** A store of just these records. */
export function storeOf(
  records: Iterable<StoreRecord>,
): { records: () => AsyncIterable<StoreRecord> } {
  return {
    async *records() {
      yield* records;
    },
  };
}

/** The snapshot of these records. */
export async function snapshotOf(records: Iterable<StoreRecord>): Promise<Uint8Array> {
  return new Uint8Array(await new Response(exportSnapshot(storeOf(records))).arrayBuffer());
}

/** About `total` records in canonical order, made as they are asked for. */
export function* manyRecords(total: number): Generator<StoreRecord> {
  const rooms = Math.ceil(total / 10);
  const owner = hex("owner");
  const id = (i: number) => `room-${String(i).padStart(9, "0")}`;
  const endpoints = Array.from({ length: 3 }, (_, i) => hex(i)).concat(owner).sort();
  for (let i = 0; i < rooms; i++) {
    yield {
      kind: "rooms",
      record: {
        id: id(i),
        subject: `chat.${i}`,
        encrypted: true,
        owner,
        epoch: 2,
        createdAt: at(i),
      },
    };
  }
  for (let i = 0; i < rooms; i++) {
    for (const endpoint of endpoints) {
      yield {
        kind: "members",
        record: {
          roomId: id(i),
          endpoint,
          role: endpoint === owner ? "owner" : "member",
          signPub: endpoint,
          kexPub: owner,
          joinedAt: at(i),
          accepted: true,
        },
      };
    }
  }
  for (let i = 0; i < rooms; i++) {
    for (const endpoint of endpoints) {
      const sealedKey = new Uint8Array(80).fill(i % 256);
      yield {
        kind: "room_keys",
        record: { roomId: id(i), epoch: 1, endpoint, sealedKey, createdAt: at(i) },
      };
    }
  }
  for (let i = 0; i < rooms; i++) {
    const number = (i + 1).toString(16);
    yield {
      kind: "users",
      record: {
        signPub: number.padStart(16, "0").padEnd(64, "5"),
        kexPub: owner,
        handle: `user ${i}`,
        role: "user",
        status: "active",
        createdAt: at(i),
        revokedAt: null,
      },
    };
  }
}

const accepted = (rule: (field: string, value: unknown) => unknown) => (value: string): boolean => {
  try {
    rule("value", value);
    return true;
  } catch {
    return false;
  }
};
const anyHex = fc.uint8Array({ minLength: 32, maxLength: 32 })
  .map((bytes) => Buffer.from(bytes).toString("hex"))
  .filter((it) => !isSmallOrderEd25519(it) && !isSmallOrderX25519(it));
const anyTime = fc.date({
  min: new Date("1970-01-01T00:00:00Z"),
  max: new Date("2999-12-31T23:59:59.999Z"),
  noInvalidDate: true,
}).map((it) => it.toISOString());
/** Plain objects, as every backend gives. */
const object = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record(model, { noNullPrototype: true });
/** Without the fields that are absent. */
const present = <T extends object>(it: T): T =>
  Object.fromEntries(Object.entries(it).filter(([, value]) => value !== undefined)) as T;
const orNull = <T>(it: fc.Arbitrary<T>) => fc.option(it, { nil: null });
const anyId = fc.string({ unit: "grapheme", minLength: 1, maxLength: 20 })
  .filter(accepted(check.roomId));

const anyHandovers = fc.uniqueArray(fc.integer({ min: 1, max: 1000 }), {
  minLength: 1,
  maxLength: 8,
}).chain((epochs) =>
  fc.tuple(anyHex, anyHex).filter(([from, to]) => from !== to).map(([from, to]) =>
    epochs.sort((a, b) => a - b).map((epoch): Handover => ({
      from,
      to,
      epoch,
      signature: "A".repeat(86),
    }))
  )
);
const anyRoom = object({
  id: anyId,
  subject: fc.string({ unit: "grapheme", minLength: 1, maxLength: 20 })
    .filter(accepted(check.subject)),
  encrypted: fc.boolean(),
  owner: anyHex,
  epoch: fc.integer({ min: 1, max: 3 }),
  createdAt: anyTime,
  handovers: fc.option(anyHandovers, { nil: undefined }),
  members: fc.array(
    object({ endpoint: anyHex, kexPub: anyHex, joinedAt: anyTime, accepted: fc.boolean() }),
    { maxLength: 3 },
  ),
  sealedKey: fc.uint8Array({ minLength: 1, maxLength: 120 }),
});
const anyUser = object({
  signPub: anyHex,
  kexPub: anyHex,
  handle: fc.string({ unit: "grapheme", minLength: 1, maxLength: 20 })
    .filter(accepted(check.handle)),
  role: fc.constantFrom("admin" as const, "user" as const),
  createdAt: anyTime,
  revokedAt: orNull(anyTime),
  invitedTo: fc.option(anyId, { nil: undefined }),
});
const anyInvite = object({
  id: anyHex,
  createdBy: fc.string({ unit: "grapheme", minLength: 1, maxLength: 20 })
    .filter(accepted(check.createdBy)),
  role: fc.constantFrom("admin" as const, "user" as const),
  note: fc.string({ unit: "grapheme", maxLength: 40 }).filter(accepted(check.note)),
  createdAt: anyTime,
  expiresAt: anyTime,
  usedAt: orNull(anyTime),
  usedBy: orNull(anyHex),
  canceledAt: orNull(anyTime),
  room: fc.option(anyId, { nil: undefined }),
});

/** Any control plane whose records fit together, in canonical order. */
export const anyRecords: fc.Arbitrary<StoreRecord[]> = fc.record({
  rooms: fc.uniqueArray(anyRoom, { maxLength: 5, selector: (it) => it.id }),
  users: fc.uniqueArray(anyUser, { maxLength: 5, selector: (it) => it.signPub }),
  invites: fc.uniqueArray(anyInvite, { maxLength: 5, selector: (it) => it.id }),
}).map(({ rooms, users, invites }) => {
  const records: StoreRecord[] = [];
  for (const { members, sealedKey, ...room } of rooms) {
    records.push({ kind: "rooms", record: present(room) });
    const all = new Map(members.map((it) => [it.endpoint, it]));
    const { owner, createdAt } = room;
    all.set(owner, { endpoint: owner, kexPub: owner, joinedAt: createdAt, accepted: true });
    for (const { endpoint, kexPub, joinedAt, accepted } of all.values()) {
      const role = endpoint === room.owner ? "owner" : "member";
      records.push({
        kind: "members",
        record: { roomId: room.id, endpoint, role, signPub: endpoint, kexPub, joinedAt, accepted },
      });
      for (let epoch = 1; room.encrypted && epoch <= room.epoch; epoch++) {
        records.push({
          kind: "room_keys",
          record: { roomId: room.id, epoch, endpoint, sealedKey, createdAt: joinedAt },
        });
      }
    }
  }
  for (const user of users) {
    const status = user.revokedAt === null ? "active" : "revoked";
    records.push({ kind: "users", record: present({ ...user, status }) });
  }
  for (const invite of invites) records.push({ kind: "invites", record: present(invite) });
  return sorted(records);
}).filter((records) =>
  // The owner's signing key stands in for its X25519 key, and may be of small order there.
  records.every((it) => it.kind !== "members" || !isSmallOrderX25519(it.record.kexPub))
);
