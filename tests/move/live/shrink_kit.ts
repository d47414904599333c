/**
 * What tests of the live move to a file share; its checker reads the file and the bucket by themselves.
 *
 * @module
 */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { connect } from "@nats-io/transport-node";
import { Kvm } from "@nats-io/kv";
import { type Follower, type Store, StoreError } from "../../../mod.ts";
import { type FollowedOptions, openFollowed } from "../../../src/follower/open.ts";

let buckets = 0;

/** A place for one test. */
export interface Place {
  /** A directory. */
  dir: string;
  /** The file that the control plane moves to. */
  db: string;
  /** The follower's file. */
  follower: string;
  /** The bucket. */
  nats: { servers: string | string[]; bucket: string; opTimeout: number };
}

/** Gives a test its place, removed afterwards. */
export async function withPlace(
  servers: string | string[],
  work: (place: Place) => Promise<void>,
): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "unibus-shrink-"));
  try {
    await work({
      dir,
      db: join(dir, "unibus.db"),
      follower: join(dir, "follower.db"),
      nats: { servers, bucket: `SHRINK_${++buckets}`, opTimeout: 5000 },
    });
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** What a move to node n1 of a place is called with; it calls no switch off because the machine is busy. */
export const toN1 = ({ db }: Place) => ({ db, node: "n1", patience: 10_000 });

/** An open store and its follower, closed at the end. */
export type Opened = { store: Store; follower: Follower } & AsyncDisposable;

/** Opens the store of a place, with its follower. */
export async function open(
  { nats, follower }: Place,
  more: Partial<FollowedOptions> = {},
): Promise<Opened> {
  const opened = await openFollowed({ ...nats, follower, ...more });
  return { ...opened, [Symbol.asyncDispose]: () => opened.store.close() };
}

/** The signing keys of users in a file, by plain SQL; those that are active. */
export function usersIn(path: string): string[] {
  const db = new DatabaseSync(path, { readOnly: true, timeout: 60_000 });
  try {
    return db.prepare("SELECT sign_pub FROM users WHERE status = 'active' ORDER BY 1").all()
      .map(({ sign_pub }) => String(sign_pub));
  } finally {
    db.close();
  }
}

/** The file's role, by plain SQL; `null` if there is none. */
export function roleIn(path: string): { role: string; generation: number } | null {
  if (!existsSync(path)) return null;
  const db = new DatabaseSync(path, { readOnly: true, timeout: 60_000 });
  try {
    const row = db.prepare("SELECT role, generation FROM file_role").get()!;
    return { role: String(row.role), generation: Number(row.generation) };
  } finally {
    db.close();
  }
}

/** What a bucket says by plain NATS: its mark, its users, and whether it takes a write. */
export async function bucketOf({ nats }: Place) {
  const nc = await connect({ servers: nats.servers });
  try {
    const kv = await new Kvm(nc).open(nats.bucket);
    const mark = await kv.get("meta.migration");
    const users: string[] = [];
    const all = await kv.history({ key: "users.*" });
    for await (const it of all) {
      if (it.operation === "PUT" && it.json<{ status: string }>().status === "active") {
        users.push(it.key.slice("users.".length));
      }
    }
    const takesWrites = await kv.put("users.probe", "{}", { timeout: 20_000 } as object)
      .then(() => kv.purge("users.probe").then(() => true), () => false);
    return {
      mark: mark === null || mark.length === 0
        ? null
        : mark.json<{ state: string; moved?: object; shrink?: object; generation?: number }>(),
      users: users.sort(),
      takesWrites,
    };
  } finally {
    await nc.close();
  }
}

/**
 * Checks that exactly one side has the control plane, and that it has every acknowledged user.
 *
 * @returns Which side
 */
export async function whoServes(
  at: Place,
  acknowledged: Iterable<string>,
): Promise<"file" | "bucket"> {
  const { mark, users, takesWrites } = await bucketOf(at);
  const here = roleIn(at.db);
  const isFile = here?.role === "primary";
  const isBucket = takesWrites && mark?.state !== "in_progress";
  assert.notEqual(isFile, isBucket, JSON.stringify({ here, mark, takesWrites }));
  const there = new Set(isFile ? usersIn(at.db) : users);
  const lost = [...acknowledged].filter((it) => !there.has(it));
  assert.deepEqual(
    lost,
    [],
    `${lost.length} acknowledged users are not in the ${isFile ? "file" : "bucket"}`,
  );
  return isFile ? "file" : "bucket";
}

/** For `assert.rejects`: a `StoreError` of this code and field. */
export function failure(code: string, field?: string): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof StoreError, String(error));
    assert.equal(error.code, code, error.message);
    if (field !== undefined) assert.equal(error.field, field, error.message);
    return true;
  };
}
