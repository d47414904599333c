/**
 * How records are stored in tables: the only place that knows their columns.
 *
 * @module
 */

import type { DatabaseSync, SQLInputValue, SQLOutputValue, StatementSync } from "node:sqlite";
import {
  type Counts,
  type Handover,
  type Invite,
  type Kind,
  KINDS,
  type Member,
  type RecordOf,
  type Room,
  type SealedKey,
  type StoreRecord,
  type User,
} from "../core/model.ts";
import { noCounts } from "../core/order.ts";

/** A row as an array, in the order of the table's columns. */
export type Row = SQLOutputValue[];

/** A table, and how its rows map to records. */
export interface Table<K extends Kind = Kind> {
  /** Columns, comma-separated. */
  readonly columns: string;
  /** Columns of the primary key, comma-separated: the canonical order. */
  readonly key: string;
  /** Converts a row to a record. */
  fromRow(row: Row): RecordOf[K];
  /** Converts a record to a row. */
  toRow(record: RecordOf[K]): SQLInputValue[];
}

/** The table of each kind; tables have the names of their kinds. */
export const TABLES: { readonly [K in Kind]: Table<K> } = {
  rooms: {
    columns: "id, subject, encrypted, owner, epoch, created_at, handovers",
    key: "id",
    fromRow: (row): Room => ({
      id: row[0] as string,
      subject: row[1] as string,
      encrypted: row[2] === 1,
      owner: row[3] as string,
      epoch: row[4] as number,
      createdAt: row[5] as string,
      ...row[6] !== null && { handovers: JSON.parse(row[6] as string) as Handover[] },
    }),
    toRow: (it) => [
      it.id,
      it.subject,
      it.encrypted ? 1 : 0,
      it.owner,
      it.epoch,
      it.createdAt,
      it.handovers === undefined ? null : JSON.stringify(it.handovers),
    ],
  },
  members: {
    columns: "room_id, endpoint, role, kex_pub, joined_at, accepted",
    key: "room_id, endpoint",
    fromRow: (row): Member => ({
      roomId: row[0] as string,
      endpoint: row[1] as string,
      role: row[2] as Member["role"],
      // An endpoint is its signing key, so it is stored once.
      signPub: row[1] as string,
      kexPub: row[3] as string,
      joinedAt: row[4] as string,
      accepted: row[5] === 1,
    }),
    toRow: (
      it,
    ) => [it.roomId, it.endpoint, it.role, it.kexPub, it.joinedAt, it.accepted ? 1 : 0],
  },
  room_keys: {
    columns: "room_id, epoch, endpoint, sealed_key, created_at",
    key: "room_id, epoch, endpoint",
    fromRow: (row): SealedKey => ({
      roomId: row[0] as string,
      epoch: row[1] as number,
      endpoint: row[2] as string,
      sealedKey: row[3] as Uint8Array,
      createdAt: row[4] as string,
    }),
    toRow: (it) => [it.roomId, it.epoch, it.endpoint, it.sealedKey, it.createdAt],
  },
  users: {
    columns: "sign_pub, kex_pub, handle, role, status, created_at, revoked_at, invited_to",
    key: "sign_pub",
    fromRow: (row): User => ({
      signPub: row[0] as string,
      kexPub: row[1] as string,
      handle: row[2] as string,
      role: row[3] as User["role"],
      status: row[4] as User["status"],
      createdAt: row[5] as string,
      revokedAt: row[6] as string | null,
      ...row[7] !== null && { invitedTo: row[7] as string },
    }),
    toRow: (it) => [
      it.signPub,
      it.kexPub,
      it.handle,
      it.role,
      it.status,
      it.createdAt,
      it.revokedAt,
      it.invitedTo ?? null,
    ],
  },
  invites: {
    columns:
      "id, created_by, role, note, created_at, expires_at, used_at, used_by, canceled_at, room",
    key: "id",
    fromRow: (row): Invite => ({
      id: row[0] as string,
      createdBy: row[1] as string,
      role: row[2] as Invite["role"],
      note: row[3] as string,
      createdAt: row[4] as string,
      expiresAt: row[5] as string,
      usedAt: row[6] as string | null,
      usedBy: row[7] as string | null,
      canceledAt: row[8] as string | null,
      ...row[9] !== null && { room: row[9] as string },
    }),
    toRow: (it) => [
      it.id,
      it.createdBy,
      it.role,
      it.note,
      it.createdAt,
      it.expiresAt,
      it.usedAt,
      it.usedBy,
      it.canceledAt,
      it.room ?? null,
    ],
  },
};

/** The columns of each table. */
export const COLUMNS: readonly (readonly [name: Kind, columns: readonly string[]])[] = KINDS.map(
  (kind) => [kind, TABLES[kind].columns.split(", ")],
);

/** Makes a statement return rows as arrays: a third faster than objects, and what `fromRow` expects. */
export function asArrays(statement: StatementSync): StatementSync {
  // Both runtimes have it, but Deno's types do not.
  (statement as StatementSync & { setReturnArrays(on: boolean): void }).setReturnArrays(true);
  return statement;
}

/** Returns the columns of a table, each qualified with an alias. */
export function columnsOf(kind: Kind, alias: string): string {
  return TABLES[kind].columns.split(", ").map((it) => `${alias}.${it}`).join(", ");
}

/** Returns the statement that inserts a row; `into` defaults to the kind's table. */
export function insertSql(kind: Kind, into: string = kind): string {
  const { columns } = TABLES[kind];
  return `INSERT INTO ${into} (${columns}) VALUES (${columns.replaceAll(/\w+/g, "?")})`;
}

/** Returns a function that inserts records of any kind with prepared statements. */
export function inserter(
  db: DatabaseSync,
  into: (kind: Kind) => string = (kind) => kind,
): (record: StoreRecord) => void {
  const statements = Object.fromEntries(
    KINDS.map((kind) => [kind, db.prepare(insertSql(kind, into(kind)))]),
  ) as Record<Kind, StatementSync>;
  return ({ kind, record }) => {
    // The compiler cannot see that the kind and the record of a union belong together.
    const { toRow } = TABLES[kind] as Table;
    statements[kind].run(...toRow(record));
  };
}

/** Returns the number of records of each kind. */
export function countRecords(db: DatabaseSync): Counts {
  const counts = noCounts();
  for (const kind of KINDS) {
    const [count] = asArrays(db.prepare(`SELECT count(*) FROM ${kind}`)).get() as unknown as Row;
    counts[kind] = Number(count);
  }
  return counts;
}

/** Returns whether there are no records. */
export function isEmpty(db: DatabaseSync): boolean {
  return KINDS.every((kind) => db.prepare(`SELECT 1 FROM ${kind} LIMIT 1`).get() === undefined);
}
