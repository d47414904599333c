/**
 * The lines of a snapshot: the header, one canonical JSON text for each record, and the trailer with
 * digests. `docs/snapshot-format.md` describes the format.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { createHash, type Hash } from "node:crypto";
import { StoreError } from "../core/errors.ts";
import type { ChainEnd } from "../core/history/source.ts";
import { type Counts, type Kind, KINDS, type RecordOf, type StoreRecord } from "../core/model.ts";
import { noCounts } from "../core/order.ts";
import { record as checkRecord, show } from "../core/validate.ts";

/** The header's `format`. */
export const SNAPSHOT_FORMAT = "unibus-membership-snapshot";
/** The latest format version that this code writes and reads. */
export const SNAPSHOT_VERSION = 2;
/** The first lines, without their newline: of a snapshot without the history, and of one with it. */
export const HEADER_LINES = [1, 2].map((version) =>
  JSON.stringify({ format: SNAPSHOT_FORMAT, version })
) as [string, string];
/** Maximum length of a line in bytes, so that malicious input cannot exhaust memory. Records need 12 KiB. */
export const MAX_LINE_BYTES = 65_536;
/** Length of text that is collected before it is hashed or written: about 64 KiB. */
export const CHUNK_LENGTH = 65_536;

/** What a snapshot has of the history. */
export interface SnapshotHistory {
  /** Number of entries. */
  count: number;
  /** SHA-256 (hex) of the lines of the entries, each with its newline. */
  digest: string;
  /** Where the oldest entry continues. */
  start: ChainEnd;
  /** The newest entry, and the head of the chain there. */
  end: ChainEnd;
}

/** Counts and digests of a snapshot's records, as in its trailer. */
export interface SnapshotSummary {
  /** Version of the format: 1, or 2 with the history. */
  version: number;
  /** Number of records of each kind. */
  counts: Counts;
  /** SHA-256 (hex) of the lines of each kind, each with its newline. */
  digests: Record<Kind, string>;
  /** SHA-256 (hex) of the header line of version 1 and all record lines, each with its newline. */
  digest: string;
  /** The history; `null` if it is not in the snapshot. */
  history: SnapshotHistory | null;
}

/** The fields of a line, in their order, whatever the order in which a backend built its record. */
const FIELDS: { readonly [K in Kind]: readonly (keyof RecordOf[K])[] } = {
  rooms: ["id", "subject", "encrypted", "owner", "epoch", "createdAt", "handovers"],
  members: ["roomId", "endpoint", "role", "signPub", "kexPub", "joinedAt", "accepted"],
  room_keys: ["roomId", "epoch", "endpoint", "sealedKey", "createdAt"],
  users: ["signPub", "kexPub", "handle", "role", "status", "createdAt", "revokedAt", "invitedTo"],
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
    "room",
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

/**
 * Returns the last line, without its newline.
 *
 * @param file With the history: the SHA-256 of all lines before it
 */
export function encodeTrailer(summary: SnapshotSummary, file: string): string {
  const { counts, digests, digest, history } = summary;
  return JSON.stringify({
    kind: "end",
    counts: { ...byKind((kind) => counts[kind]), ...history && { history: history.count } },
    sha256: {
      ...byKind((kind) => digests[kind]),
      all: digest,
      ...history && { history: history.digest, file },
    },
  });
}

/** Returns whether a line starts like a trailer. */
export function isTrailer(line: string): boolean {
  return line.startsWith('{"kind":"end"');
}

/** Describes how a trailer differs from the records before it, or returns `null`. */
export function trailerProblem(
  line: string,
  found: SnapshotSummary,
  file: string,
): string | null {
  const canonical = encodeTrailer(found, file);
  if (line === canonical) return null;
  const trailer = parseObject(line);
  if (trailer === null) return "is not a JSON object";
  const counts = objectOrEmpty(trailer.counts);
  const sha256 = objectOrEmpty(trailer.sha256);
  const problems: string[] = [];
  for (const kind of KINDS) {
    if (counts[kind] !== found.counts[kind]) {
      problems.push(`${kind}: ${show(counts[kind])} expected and ${found.counts[kind]} found`);
    }
  }
  for (const kind of KINDS) {
    if (sha256[kind] !== found.digests[kind]) problems.push(`the SHA-256 of ${kind} differs`);
  }
  const { history } = found;
  if (history !== null && counts.history !== history.count) {
    problems.push(
      `entries of the history: ${show(counts.history)} expected and ${history.count} found`,
    );
  }
  if (history !== null && sha256.history !== history.digest) {
    problems.push("the SHA-256 of the history differs");
  }
  const isWhole = history === null ? sha256.all === found.digest : sha256.file === file;
  if (!isWhole) problems.push("the overall SHA-256 differs");
  // The overall digest covers every line, so if it matches, the trailer is damaged.
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
  readonly #all: Hash = createHash("sha256").update(HEADER_LINES[0] + "\n");
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
      version: 1,
      counts: { ...this.#counts },
      digests: byKind((kind) => this.#kinds[kind].copy().digest("hex")),
      digest: this.#all.copy().digest("hex"),
      history: null,
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

/** Names the first character of a line that is not as it must be. */
export function where(canonical: string, line: string): string {
  let i = 0;
  while (i < line.length && line[i] === canonical[i]) i++;
  return `from character ${i + 1}`;
}
