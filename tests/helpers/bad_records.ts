/**
 * Records as other programs write them: past the checks of a SQLite file, as version 0.1 had none, and
 * straight into a bucket.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { DatabaseSync } from "node:sqlite";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { hex } from "./sqlite.ts";

/** A time as records bear it. */
export const AT = "2026-11-20T08:00:00.000Z";
/** Key, in the upper case that no lookup finds. */
export const UPPER = hex("upper").toUpperCase();

/** Runs SQL on a file without its checks, as if version 0.1 had done it. */
export function plant(path: string, ...statements: string[]): void {
  const db = new DatabaseSync(path);
  try {
    db.exec("PRAGMA foreign_keys = ON");
    const triggers = db.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").all();
    for (const { name } of triggers) db.exec(`DROP TRIGGER ${name}`);
    for (const statement of statements) db.exec(statement);
    for (const { sql } of triggers) db.exec(String(sql));
  } finally {
    db.close();
  }
}

/** SQL that adds a user; values are SQL expressions. */
export function userSql(values: Partial<Record<"signPub" | "kexPub" | "handle" | "at", string>>) {
  const { signPub, kexPub = `'${hex("kex")}'`, handle = "'eve'", at = `'${AT}'` } = values;
  return `INSERT INTO users (sign_pub, kex_pub, handle, role, status, created_at)
    VALUES (${
    signPub ?? `'${hex(JSON.stringify(values))}'`
  }, ${kexPub}, ${handle}, 'user', 'active', ${at})`;
}

/** SQL that adds a room with its owner, in two statements. */
export function roomSql(id: string, owner: string, epoch = 1): string[] {
  return [
    `INSERT INTO rooms (id, subject, encrypted, owner, epoch, created_at)
      VALUES (${id}, 'chat', 1, '${owner}', ${epoch}, '${AT}')`,
    `INSERT INTO members (room_id, endpoint, role, kex_pub, joined_at)
      VALUES (${id}, '${owner}', 'owner', '${hex("kex")}', '${AT}')`,
  ];
}

/** The value of a user in a bucket. */
export function userValue(values: Record<string, unknown> = {}): string {
  return JSON.stringify({
    v: 1,
    kexPub: hex("kex"),
    handle: "eve",
    role: "user",
    status: "active",
    createdAt: AT,
    revokedAt: null,
    ...values,
  });
}

/** A connection that writes into a bucket past its client's checks of keys. */
export async function rawBucket(nats: { servers: string; bucket: string }) {
  const nc: NatsConnection = await connect({ servers: nats.servers });
  const at = (key: string) => `$KV.${nats.bucket}.${key}`;
  return {
    async put(key: string, value: string | Uint8Array): Promise<void> {
      await nc.request(at(key), typeof value === "string" ? Buffer.from(value) : value);
    },
    [Symbol.asyncDispose]: () => nc.close(),
  };
}
