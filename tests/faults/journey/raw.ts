/**
 * What a file and a bucket hold, read by SQL and by NATS requests alone: a checker that shares no code
 * with what it checks.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { connect, type NatsConnection, nkeyAuthenticator } from "@nats-io/transport-node";

/** Records by kind and key, each as text that is the same for a file and for a bucket. */
export type Records = Map<string, string>;

/** What a file says of itself. */
export interface RawRole {
  role: string;
  generation: number;
  frozen: boolean;
}

/** The mark of a bucket. */
export interface RawMark {
  revision: number;
  // deno-lint-ignore no-explicit-any
  value: any;
}

/** Columns of each table that are its key. */
const KEYS: Record<string, string[]> = {
  rooms: ["id"],
  members: ["room_id", "endpoint"],
  room_keys: ["room_id", "epoch", "endpoint"],
  users: ["sign_pub"],
  invites: ["id"],
};

const camel = (name: string) => name.replace(/_([a-z])/g, (_, it) => it.toUpperCase());

/** Fields in one order; what is not set is left out. */
function textOf(fields: Record<string, unknown>): string {
  const plain = Object.entries(fields).filter(([, it]) => it !== null && it !== undefined)
    .map(([name, it]): [string, unknown] => [name, typeof it === "boolean" ? Number(it) : it]);
  return JSON.stringify(plain.sort(([a], [b]) => a < b ? -1 : 1));
}

/** Reads what a file is. */
export function rawRole(db: string): RawRole {
  using file = new DatabaseSync(db, { readOnly: true, timeout: 5_000 });
  const row = file.prepare("SELECT role, generation, frozen_at FROM file_role").get()!;
  return {
    role: String(row.role),
    generation: Number(row.generation),
    frozen: row.frozen_at !== null,
  };
}

/** Reads all records of a file. */
export function rawFile(db: string): Records {
  using file = new DatabaseSync(db, { readOnly: true, timeout: 5_000 });
  const records: Records = new Map();
  for (const [table, keys] of Object.entries(KEYS)) {
    for (const row of file.prepare(`SELECT * FROM ${table}`).iterate()) {
      const fields: Record<string, unknown> = {};
      for (const [column, it] of Object.entries(row)) {
        if (keys.includes(column)) continue;
        fields[camel(column)] = it instanceof Uint8Array
          ? Buffer.from(it).toString("base64url")
          : it;
      }
      records.set(JSON.stringify([table, ...keys.map((it) => String(row[it]))]), textOf(fields));
    }
  }
  return records;
}

/** Connects as the control plane does. */
export async function rawConnect(servers: string[], keysPath: string): Promise<NatsConnection> {
  const { service } = JSON.parse(readFileSync(keysPath, "utf8"));
  const seed = new TextEncoder().encode(service);
  return await connect({
    servers,
    authenticator: nkeyAuthenticator(seed),
    maxReconnectAttempts: -1,
    reconnectTimeWait: 200,
    timeout: 2_000,
  });
}

/** Reads the mark of a bucket at the leader; null if there is no such bucket, or no mark in it. */
export async function rawMark(connection: NatsConnection, bucket: string): Promise<RawMark | null> {
  const query = JSON.stringify({ last_by_subj: `$KV.${bucket}.meta.migration` });
  const subject = `$JS.API.STREAM.MSG.GET.KV_${bucket}`;
  const answer = (await connection.request(subject, query, { timeout: 2_000 })).json<
    { message?: { seq: number; data: string }; error?: { code: number; description: string } }
  >();
  if (answer.error?.code === 404) return null;
  if (answer.message === undefined) throw new Error(answer.error?.description ?? "no message");
  const { seq, data } = answer.message;
  return { revision: seq, value: JSON.parse(Buffer.from(data, "base64").toString()) };
}

/** Whether a mark says that the control plane is in its bucket. */
export function isInBucket(mark: RawMark | null): boolean {
  return mark !== null && mark.value.state === "complete" && mark.value.moved === undefined;
}

const ID = /^=(.*)$/;
const token = (it: string) =>
  it.replace(ID, (_, text) => Buffer.from(text, "base64url").toString());

/** Reads all records of a bucket. */
export async function rawBucket(connection: NatsConnection, bucket: string): Promise<Records> {
  const inbox = `_INBOX.${crypto.randomUUID()}`;
  const records: Records = new Map();
  const messages = connection.subscribe(inbox);
  const prefix = `$KV.${bucket}.`;
  const subject = `$JS.API.CONSUMER.CREATE.KV_${bucket}`;
  const config = {
    // The server keeps one message a key. Its count of messages to come is wrong at times while others write,
    // so the sequence says where the end is.
    deliver_policy: "all",
    deliver_subject: inbox,
    filter_subject: `${prefix}>`,
    ack_policy: "none",
    // Otherwise the server drops what a busy reader does not take in time.
    flow_control: true,
    idle_heartbeat: 5_000_000_000,
    inactive_threshold: 30_000_000_000,
    mem_storage: true,
    num_replicas: 1,
  };
  const ask = async <T>(subject: string, body: unknown): Promise<T> => {
    const answer = await connection.request(subject, JSON.stringify(body), { timeout: 10_000 });
    const found = answer.json<T & { error?: { code: number; description: string } }>();
    if (found.error && found.error.code !== 404) {
      throw new Error(`Reading ${bucket}: ${found.error.description}`);
    }
    return found;
  };
  const { message } = await ask<{ message?: { seq: number } }>(
    `$JS.API.STREAM.MSG.GET.KV_${bucket}`,
    { last_by_subj: `${prefix}>` },
  );
  if (message === undefined) return records;
  await ask(subject, { stream_name: `KV_${bucket}`, config });
  let read = 0;
  for await (const it of messages) {
    if (it.headers?.code === 100) {
      if (it.reply) it.respond();
      continue;
    }
    // $JS.ACK.<stream>.<consumer>.<tries>.<stream sequence>.<consumer sequence>…
    const [sequence, number] = it.reply!.split(".").slice(5, 7).map(Number) as [number, number];
    if (number !== ++read) throw new Error(`Reading ${bucket}: message ${read} was not received`);
    const [kind, ...key] = it.subject.slice(prefix.length).split(".") as [string, ...string[]];
    const gone = it.headers?.has("KV-Operation") || it.headers?.has("Nats-Marker-Reason");
    const name = JSON.stringify([kind, ...key.map(token)]);
    if (gone) records.delete(name);
    else if (Object.hasOwn(KEYS, kind)) {
      const { v: _, ...fields } = it.json<Record<string, unknown>>();
      if (kind === "members") fields.accepted ??= true;
      records.set(name, textOf(fields));
    }
    if (sequence >= message.seq) break;
  }
  return records;
}

/** Users that were written: whether each was added last, or deleted. */
export type WrittenUsers = ReadonlyMap<string, boolean>;

/**
 * Compares records with those of before the load and what that was answered since. Users of calls that
 * failed may be there or not: they are in `unknown`.
 */
export function differences(
  found: Records,
  before: Records,
  written: WrittenUsers,
  unknown: ReadonlySet<string> = new Set(),
): string[] {
  const keyOf = (user: string) => JSON.stringify(["users", user]);
  const wrong: string[] = [];
  for (const [user, isThere] of written) {
    if (unknown.has(user) || found.has(keyOf(user)) === isThere) continue;
    wrong.push(`user ${user} ${isThere ? "is missing" : "came back"}`);
  }
  const touched = new Set([...written.keys(), ...unknown].map(keyOf));
  for (const [key, text] of before) {
    if (!touched.has(key) && found.get(key) !== text) {
      wrong.push(`${key} is ${found.get(key) ?? "missing"}, it was ${text}`);
    }
  }
  for (const key of found.keys()) {
    if (!touched.has(key) && !before.has(key)) wrong.push(`${key} was never written`);
  }
  return wrong;
}
