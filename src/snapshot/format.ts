/**
 * The snapshot's lines: one canonical JSON text for each record, the header, the trailer, and the
 * digests the trailer carries. `docs/snapshot-format.md` describes the whole file.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { createHash, type Hash } from "node:crypto";
import { StoreError } from "../core/errors.ts";
import { type Counts, type Kind, KINDS, type RecordOf, type StoreRecord } from "../core/model.ts";
import { noCounts } from "../core/order.ts";
import { record as checkRecord, show } from "../core/validate.ts";

/** The header's `format`. */
export const SNAPSHOT_FORMAT = "unibus-membership-snapshot";
/** The version of the format that this code writes and reads. */
export const SNAPSHOT_VERSION = 1;
/** The first line, without its line end. */
export const HEADER_LINE: string = JSON.stringify({
  format: SNAPSHOT_FORMAT,
  version: SNAPSHOT_VERSION,
});
/** Longest line in bytes, so that hostile input cannot fill memory. Real lines stay below 12 KiB. */
export const MAX_LINE_BYTES = 65_536;
/** How much is collected before it is hashed or handed on: about 64 KiB. */
export const CHUNK_LENGTH = 65_536;

/** What a snapshot holds: the trailer's figures, computed from the lines before it. */
export interface SnapshotSummary {
  /** Version of the format. */
  version: number;
  /** Records of each kind. */
  counts: Counts;
  /** SHA-256 (hex) over the lines of each kind, each with its line end. */
  digests: Record<Kind, string>;
  /** SHA-256 (hex) over the header line and all record lines, each with its line end. */
  digest: string;
}

/** The fields of a line, in their order, whatever the order in which a backend built its record. */
const FIELDS: { readonly [K in Kind]: readonly (keyof RecordOf[K])[] } = {
  rooms: ["id", "subject", "encrypted", "owner", "epoch", "createdAt"],
  members: ["roomId", "endpoint", "role", "signPub", "kexPub", "joinedAt", "accepted"],
  room_keys: ["roomId", "epoch", "endpoint", "sealedKey", "createdAt"],
  users: ["signPub", "kexPub", "handle", "role", "status", "createdAt", "revokedAt"],
  invites: [
    "id",
    "createdBy",
    "role",
    "note",
    "createdAt",
    "expiresAt",
    "usedAt",
    "usedBy",
    "canceledAt",
  ],
};

/**
 * A record as one line of canonical JSON, without line end: `kind`, then the fields in the model's
 * order. Equal records give equal lines.
 */
export function encodeRecord({ kind, record }: StoreRecord): string {
  const values = record as unknown as Record<string, unknown>;
  const line: Record<string, unknown> = { kind };
  for (const field of FIELDS[kind]) line[field] = values[field];
  if (kind === "room_keys") {
    const { buffer, byteOffset, byteLength } = record.sealedKey;
    line.sealedKey = Buffer.from(buffer, byteOffset, byteLength).toString("base64url");
  }
  // Left out where true: the lines of version 0.1 stay as they are.
  if (line.accepted === true) line.accepted = undefined;
  return JSON.stringify(line);
}

/**
 * Reads one record line, without its line end. `corrupt` when it is not a record in canonical form,
 * `invalid` (with `field`) when a field breaks a limit. Messages never hold the line's bytes.
 */
export function decodeRecord(line: string): StoreRecord {
  const value = parseObject(line);
  if (value === null) throw new StoreError("corrupt", "Line is not a JSON object");
  const kind = KINDS.find((it) => it === value.kind);
  if (kind === undefined) {
    throw new StoreError("corrupt", `Line has the unknown kind ${show(value.kind)}`);
  }
  if (kind === "room_keys" && typeof value.sealedKey === "string") {
    value.sealedKey = Buffer.from(value.sealedKey, "base64url");
  }
  const it = checkRecord(kind, value);
  // One text per record: upper-case hex, spaces, other field orders, unknown or repeated fields and
  // loose base64 would all read as the same record, and hide a flipped bit.
  const canonical = encodeRecord(it);
  if (canonical !== line) {
    throw new StoreError("corrupt", `Line is not in canonical form ${where(canonical, line)}`);
  }
  return it;
}

/** The last line, without its line end. */
export function encodeTrailer({ counts, digests, digest }: SnapshotSummary): string {
  return JSON.stringify({
    kind: "end",
    counts: byKind((kind) => counts[kind]),
    sha256: { ...byKind((kind) => digests[kind]), all: digest },
  });
}

/** Whether a line presents itself as the trailer. */
export function isTrailer(line: string): boolean {
  return line.startsWith('{"kind":"end"');
}

/** Says in words how a trailer differs from what was found before it; `null` when it does not. */
export function trailerProblem(line: string, found: SnapshotSummary): string | null {
  const canonical = encodeTrailer(found);
  if (line === canonical) return null;
  const trailer = parseObject(line);
  if (trailer === null) return "is not a JSON object";
  const counts = objectOrEmpty(trailer.counts);
  const sha256 = objectOrEmpty(trailer.sha256);
  const problems: string[] = [];
  for (const kind of KINDS) {
    if (counts[kind] !== found.counts[kind]) {
      problems.push(`${show(counts[kind])} ${kind} announced and ${found.counts[kind]} found`);
    }
  }
  for (const kind of KINDS) {
    if (sha256[kind] !== found.digests[kind]) problems.push(`the SHA-256 of ${kind} differs`);
  }
  if (sha256.all !== found.digest) problems.push("the overall SHA-256 differs");
  // The overall digest covers every record, so where it agrees the damage is in the trailer.
  else problems.push("the overall SHA-256 agrees, so it is the trailer that is damaged");
  if (problems.length === 1) problems.unshift(`not in canonical form ${where(canonical, line)}`);
  return `does not match the lines before it: ${problems.join(", ")}`;
}

/**
 * Counts and digests of records, computed as they go by. Add them in canonical order.
 *
 * @example
 * ```ts
 * import { openSqlite, SnapshotDigest } from "@unibus/membership";
 *
 * await using store = openSqlite(":memory:");
 * const digest = new SnapshotDigest();
 * for await (const it of store.records()) digest.add(it);
 * console.log(digest.summary().digest);
 * ```
 */
export class SnapshotDigest {
  readonly #all: Hash = createHash("sha256").update(HEADER_LINE + "\n");
  readonly #kinds: Record<Kind, Hash> = byKind(() => createHash("sha256"));
  readonly #counts: Counts = noCounts();
  #kind: Kind = "rooms";
  #text = "";

  /**
   * Takes one more record.
   *
   * @param it The record
   * @param line Its line from {@link encodeRecord}, where the caller has it already
   */
  add(it: StoreRecord, line: string = encodeRecord(it)): void {
    if (it.kind !== this.#kind) {
      this.#flush();
      this.#kind = it.kind;
    }
    this.#counts[it.kind]++;
    this.#text += line + "\n";
    if (this.#text.length >= CHUNK_LENGTH) this.#flush();
  }

  /** Counts and digests of what was added so far. */
  summary(): SnapshotSummary {
    this.#flush();
    return {
      version: SNAPSHOT_VERSION,
      counts: { ...this.#counts },
      digests: byKind((kind) => this.#kinds[kind].copy().digest("hex")),
      digest: this.#all.copy().digest("hex"),
    };
  }

  /** A hash call costs as much as hashing a record, so many lines go in at once. */
  #flush(): void {
    this.#kinds[this.#kind].update(this.#text);
    this.#all.update(this.#text);
    this.#text = "";
  }
}

/** A JSON object, or `null`. JSON.parse's own error quotes the text, so it is not passed on. */
export function parseObject(line: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? value as Record<string, unknown>
      : null;
  } catch {
    return null;
  }
}

function objectOrEmpty(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? value as Record<string, unknown> : {};
}

function byKind<T>(of: (kind: Kind) => T): Record<Kind, T> {
  return Object.fromEntries(KINDS.map((kind) => [kind, of(kind)])) as Record<Kind, T>;
}

function where(canonical: string, line: string): string {
  let i = 0;
  while (i < line.length && line[i] === canonical[i]) i++;
  return `from character ${i + 1} on`;
}
