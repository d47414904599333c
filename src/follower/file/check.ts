/**
 * Whether the file of a follower still says what its bucket held: a bit that changed on the disk can
 * make a revoked user an active one without breaking the file's structure.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { DatabaseSync } from "node:sqlite";
import { StoreError } from "../../core/errors.ts";
import { counted } from "../../core/text/counted.ts";
import { isIndex, parseKey } from "../../jetstream/records/keys.ts";
import { decodeRecord, decodeRoom } from "../../jetstream/records/values.ts";
import { toStoreError } from "../../sqlite/file/errors.ts";
import { checkHealth } from "../../sqlite/health.ts";
import { countRecords } from "../../sqlite/rows.ts";
import { canonicalOf } from "./changes.ts";
import type { Held } from "./messages.ts";
import { type HeldValue, valuesOf } from "./values.ts";

/** Keys that are checked in one step. */
const STEP = 64;

/**
 * Checks every page, makes every value again from the tables and compares it with the hash of the
 * message that the bucket held. Takes a few seconds for each 100,000 keys.
 *
 * @throws {StoreError} `corrupt`: the first problem found
 */
export function checkFile(db: DatabaseSync, path: string, held: Held): void {
  try {
    check(db, path, held);
  } catch (error) {
    // A page that SQLite cannot read ends the check itself.
    throw toStoreError(error, `Checking ${path}`);
  }
}

function check(db: DatabaseSync, path: string, held: Held): void {
  checkHealth(db, path);
  for (const _ of checkingValues(db, path, held));
}

/** Checks the values as {@link checkFile} does, some at each step. The file must not change meanwhile. */
export function* checkingValues(db: DatabaseSync, path: string, held: Held): Generator<void> {
  const fail = (found: string): never => {
    throw damaged(path, found);
  };
  const valueOf = valuesOf(path, db);
  const keys = db.prepare(
    `SELECT key, key IN (SELECT key FROM follower_quarantine) AS bad FROM follower_entries`,
  );
  let entries = 0;
  let records = 0;
  let sum = 0n;
  for (const { key: name, bad } of keys.iterate()) {
    const key = String(name);
    const it = valueOf(key)!;
    checkValue(path, key, it, bad === 1);
    sum += BigInt(`0x${Buffer.from(it.hash).toString("hex")}`);
    if (++entries % STEP === 0) yield;
    if (bad === 0 && !isIndex(key)) records++;
  }
  if (entries !== held.entries) fail(`it has ${counted(entries, "key")}, and had ${held.entries}`);
  const digest = BigInt.asUintN(128, sum).toString(16).padStart(32, "0");
  if (digest !== held.digest) fail(`its digest is ${digest}, and was ${held.digest}`);
  const rows = Object.values(countRecords(db)).reduce((all, count) => all + count, 0);
  if (rows !== records) fail(`it has ${counted(rows, "record")}, and its bucket had ${records}`);
}

/**
 * Makes the value of a key from the tables and compares it with the hash of the message that the bucket
 * held, and with the record of the tables where the file has the value itself.
 *
 * @param isBad Whether it is in quarantine, and so in no table
 * @throws {StoreError} `corrupt`: it is another
 */
export function checkValue(path: string, key: string, it: HeldValue, isBad: boolean): void {
  const text = it.read();
  if (isBad || isIndex(key) || !it.isKept || it.record() === canonical(key, text)) return;
  throw damaged(path, `the record of ${key} is not what the bucket held`);
}

function damaged(path: string, found: string): StoreError {
  const hint = "use the follower of another node";
  return new StoreError("corrupt", `Checking ${path}: ${found}`, { hint });
}

/** What this program would have written. */
function canonical(key: string, text: string): string {
  const parsed = parseKey(key)!;
  const data = Buffer.from(text);
  const op = parsed.space === "rooms" ? decodeRoom(key, parsed.id, data).pending?.op : undefined;
  return canonicalOf(decodeRecord(key, parsed, data)!, op);
}
