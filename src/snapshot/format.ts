/**
 * The lines of a snapshot: the header, one canonical JSON text for each record, and the trailer with
 * digests. `docs/snapshot-format.md` describes the format.
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
/** The format version that this code writes and reads. */
export const SNAPSHOT_VERSION = 1;
/** The first line, without its newline. */
export const HEADER_LINE: string = JSON.stringify({
  format: SNAPSHOT_FORMAT,
  version: SNAPSHOT_VERSION,
});
/** Maximum length of a line in bytes, so that malicious input cannot exhaust memory. Records need 12 KiB. */
export const MAX_LINE_BYTES = 65_536;
/** Length of text that is collected before it is hashed or written: about 64 KiB. */
export const CHUNK_LENGTH = 65_536;

/** Counts and digests of a snapshot's records, as in its trailer. */
export interface SnapshotSummary {
  /** Version of the format. */
  version: number;
  /** Number of records of each kind. */
  counts: Counts;
  /** SHA-256 (hex) of the lines of each kind, each with its newline. */
  digests: Record<Kind, string>;
  /** SHA-256 (hex) of the header line and all record lines, each with its newline. */
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
 * Encodes a record as one line of canonical JSON, without newline: `kind`, then the fields in the
 * model's order. Equal records give equal lines.
 */
export function encodeRecord({ kind, record }: StoreRecord): string {
  const values = record as unknown as Record<string, unknown>;
  const line: Record<string, unknown> = { kind };
  for (const field of FIELDS[kind]) line[field] = values[field];
  if (kind === "room_keys") {
    const { buffer, byteOffset, byteLength } = record.sealedKey;
    line.sealedKey = Buffer.from(buffer, byteOffset, byteLength).toString("base64url");
  }
  // Omitted if true, so that records of version 0.1 give the same lines.
  if (line.accepted === true) line.accepted = undefined;
  return JSON.stringify(line);
}

/**
 * Decodes a record line, without its newline. Error messages never contain the line.
 *
 * @throws {StoreError} `corrupt`: not a record in canonical form; `invalid`: a field is invalid (`field`
 * names it)
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
  const record = checkRecord(kind, value);
  // Only one text is valid for a record: upper-case hex, spaces, another field order, unknown or
  // repeated fields and lenient base64 would decode to the same record, and hide a flipped bit.
  const canonical = encodeRecord(record);
  if (canonical !== line) {
    throw new StoreError("corrupt", `Line is not in canonical form ${where(canonical, line)}`);
  }
  return record;
}

/** Returns the last line, without its newline. */
export function encodeTrailer({ counts, digests, digest }: SnapshotSummary): string {
  return JSON.stringify({
    kind: "end",
    counts: byKind((kind) => counts[kind]),
    sha256: { ...byKind((kind) => digests[kind]), all: digest },
  });
}

/** Returns whether a line starts like a trailer. */
export function isTrailer(line: string): boolean {
  return line.startsWith('{"kind":"end"');
}

/** Describes how a trailer differs from the records before it, or returns `null`. */
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
      problems.push(`${show(counts[kind])} ${kind} expected and ${found.counts[kind]} found`);
    }
  }
  for (const kind of KINDS) {
    if (sha256[kind] !== found.digests[kind]) problems.push(`the SHA-256 of ${kind} differs`);
  }
  if (sha256.all !== found.digest) problems.push("the overall SHA-256 differs");
  // The overall digest covers every record, so if it matches, the trailer is damaged.
  else problems.push("the overall SHA-256 matches, so the trailer itself is damaged");
  if (problems.length === 1) problems.unshift(`not in canonical form ${where(canonical, line)}`);
  return `does not match the lines before it: ${problems.join(", ")}`;
}

/**
 * Computes the counts and digests of records, which must be added in canonical order.
 *
 * @example
 * ```ts
 * import { openSqlite, SnapshotDigest } from "@unibus/membership";
 *
 * await using store = openSqlite(":memory:");
 * const digest = new SnapshotDigest();
 * for await (const record of store.records()) digest.add(record);
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
   * Adds a record.
   *
   * @param record The record
   * @param line Its line from {@link encodeRecord}, if the caller has it
   */
  add(record: StoreRecord, line: string = encodeRecord(record)): void {
    const { kind } = record;
    if (kind !== this.#kind) {
      this.#flush();
      this.#kind = kind;
    }
    this.#counts[kind]++;
    this.#text += line + "\n";
    if (this.#text.length >= CHUNK_LENGTH) this.#flush();
  }

  /** Returns the counts and digests of the records added so far. */
  summary(): SnapshotSummary {
    this.#flush();
    return {
      version: SNAPSHOT_VERSION,
      counts: { ...this.#counts },
      digests: byKind((kind) => this.#kinds[kind].copy().digest("hex")),
      digest: this.#all.copy().digest("hex"),
    };
  }

  /** Hashes many lines at once, because a call costs as much as hashing a record. */
  #flush(): void {
    this.#kinds[this.#kind].update(this.#text);
    this.#all.update(this.#text);
    this.#text = "";
  }
}

/** Parses a JSON object, or returns `null`: the error of `JSON.parse` would quote the text. */
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
  return `from character ${i + 1}`;
}
