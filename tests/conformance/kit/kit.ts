/**
 * Values and small helpers the conformance tests share.
 *
 * @module
 */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import type {
  AddedMember,
  CreatedInvite,
  KeyFor,
  NewMember,
  NewRoom,
  NewUser,
  Page,
  PageRequest,
  StoreRecord,
  UserRole,
} from "../../../src/core/model.ts";
import type { Store } from "../../../src/core/store.ts";
import { StoreError, type StoreErrorCode } from "../../../src/core/errors.ts";

/** A public key nobody has: 32 random bytes in lower-case hex. */
export function hexKey(): string {
  return randomBytes(32).toString("hex");
}

/** Bytes of a sealed key. */
export function sealed(length = 48): Uint8Array {
  return new Uint8Array(randomBytes(length));
}

/** The same bytes in a form that compares. */
export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

/** Somebody new. */
export function newMember(): NewMember {
  return { endpoint: hexKey(), kexPub: hexKey() };
}

/** Several new ones. */
export function newMembers(count: number): NewMember[] {
  return Array.from({ length: count }, newMember);
}

/** A fresh sealed key for each endpoint. */
export function keysFor(endpoints: Iterable<string | NewMember>): KeyFor[] {
  return [...endpoints].map((it) => ({
    endpoint: typeof it === "string" ? it : it.endpoint,
    sealedKey: sealed(),
  }));
}

/** A room whose members are called by their endpoints. */
export type RoomOf = Omit<NewRoom, "owner" | "members"> & {
  owner: NewMember;
  members?: AddedMember[];
};

/** A room with everything it needs: sealed keys for its owner and members unless it is cleartext. */
export function newRoom(id: string, part: Partial<RoomOf> = {}): RoomOf {
  const owner = part.owner ?? newMember();
  const members = part.members ?? [];
  const keys = part.encrypted === false ? [] : keysFor([owner, ...members]);
  return { id, subject: "unibus.room", owner, members, sealedKeys: keys, ...part };
}

/** A user with random keys. */
export function newUser(part: Partial<NewUser> = {}): NewUser {
  return { signPub: hexKey(), kexPub: hexKey(), handle: "Ada", ...part };
}

/** Somebody who claims an invite. */
export function claim(part: Partial<NewUser> = {}): Omit<NewUser, "role"> {
  const { signPub, kexPub, handle } = newUser(part);
  return { signPub, kexPub, handle };
}

/** An invite made by a label. */
export function invite(store: Store, role: UserRole = "user"): Promise<CreatedInvite> {
  return store.createInvite({ createdBy: "cli", role });
}

/** Everything an async iterable yields. */
export async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const it of source) all.push(it);
  return all;
}

/** The records as plain JSON values, which compare whatever class holds the bytes. */
export function plain(records: StoreRecord[]): unknown[] {
  return records.map(({ kind, record }) => ({
    kind,
    ...record,
    ...("sealedKey" in record ? { sealedKey: hex(record.sealedKey) } : {}),
  }));
}

/** All records of a store in a form that compares. */
export async function snapshot(store: Store): Promise<unknown[]> {
  return plain(await collect(store.records()));
}

/** Every item of a paged list. */
export async function everyPage<T>(
  list: (page: PageRequest) => Promise<Page<T>>,
  limit = 10_000,
): Promise<T[]> {
  const all: T[] = [];
  let after: string | null = null;
  do {
    const page: Page<T> = await list({ limit, after });
    all.push(...page.items);
    after = page.next;
  } while (after !== null);
  return all;
}

/** Asserts that a call rejects with a code, and for `invalid` with a field. */
export async function fails(
  code: StoreErrorCode,
  call: Promise<unknown> | (() => Promise<unknown>),
  field?: string,
): Promise<StoreError> {
  let value: unknown;
  try {
    value = await (typeof call === "function" ? call() : call);
  } catch (error) {
    assert.ok(error instanceof StoreError, `Expected a StoreError (${code}), found ${error}`);
    assert.equal(error.code, code, `${error.code} in place of ${code}: ${error.message}`);
    if (field !== undefined) assert.equal(error.field, field, `field of: ${error.message}`);
    return error;
  }
  assert.fail(`Expected ${code}${field ? ` (${field})` : ""}, found ${JSON.stringify(value)}`);
}

/** How calls made at once ended: `ok`, or the code of the error. */
export async function outcomes(calls: Promise<unknown>[]): Promise<string[]> {
  const settled = await Promise.allSettled(calls);
  return settled.map((it) => {
    if (it.status === "fulfilled") return "ok";
    if (it.reason instanceof StoreError) return it.reason.code;
    throw it.reason;
  });
}

/** How many there are of each word, in a form that compares and reads well. */
export function tally(words: string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const it of [...words].sort()) counts[it] = (counts[it] ?? 0) + 1;
  return counts;
}

/** Asks again after a lost race, as `conflict` tells callers to. */
export async function retrying<T>(call: () => Promise<T>, times = 200): Promise<T> {
  for (let i = 1;; i++) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof StoreError && error.code === "conflict") || i >= times) throw error;
    }
  }
}

/** Waits for what another handle may learn a moment later; fails when it does not come true. */
export async function eventually(
  what: string,
  check: () => Promise<boolean>,
  milliseconds = 60_000,
): Promise<void> {
  const end = performance.now() + milliseconds;
  while (!(await check())) {
    assert.ok(performance.now() < end, `Not so after ${milliseconds} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/**
 * Repeats a check beside other work until that is done, then rejects with what the check found.
 * @returns What `work` gave
 */
export async function meanwhile<T>(check: () => Promise<void>, work: Promise<T>): Promise<T> {
  let done = false;
  const checking = (async () => {
    while (!done) {
      await check();
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  })();
  const ended = await Promise.allSettled([work.finally(() => done = true), checking]);
  for (const it of ended) if (it.status === "rejected") throw it.reason;
  return (ended[0] as PromiseFulfilledResult<T>).value;
}
