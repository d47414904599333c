/**
 * What an endpoint may do on the bus, as of its rooms.
 *
 * It may publish and subscribe to the subject of each of its rooms and everything below, subscribe to
 * its own inbox, and publish to inboxes, so that it can answer. A reply's full subject is known only to
 * those who got the request, and subscribing to the inbox of another is not allowed.
 *
 * Answers are not allowed by the server's `allow_responses`: with that, whoever receives a message may
 * publish to the reply subject it names, whatever that is. Two members of one room could so write into
 * any other room. Even a list of denied subjects does not stop it.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import type { Room } from "../../core/model.ts";

/** Lists of subjects, as a user's token holds them. */
export interface Permissions {
  /** What may be published to. */
  pub: { allow: string[] };
  /** What may be subscribed to. */
  sub: { allow: string[] };
}

/** What an endpoint may do. */
export interface Grant {
  /** Equal for equal permissions of the same endpoint, and for no others. */
  readonly id: string;
  /** The ids of its rooms. */
  readonly rooms: ReadonlySet<string>;
  /** Its rooms' subjects, sorted, without those another one covers. */
  readonly subjects: readonly string[];
  /** Ids of rooms whose subject is not of the data plane, which gives nothing. */
  readonly withheld: readonly string[];
  /** Ids of rooms that no longer fit. */
  readonly leftOut: readonly string[];
}

/**
 * What the lists of subjects may take, bytes: encoded twice, that is 0.9 of the 1 MiB which a server
 * takes at most as a message. The same everywhere, so that everybody comes to the same grant.
 */
const MOST_BYTES = 500_000;

// deno-lint-ignore no-control-regex
const PLAIN = /^(?![$_])[^.*>\s\u0000-\u001f\u007f]+(?:\.[^.*>\s\u0000-\u001f\u007f]+)*$/;

/**
 * Whether a room's subject belongs to the data plane. Not so are wildcards and everything that begins
 * with `$` or `_`: the server's own (`$SYS`, `$JS`, `$KV`, `$O`, `_R_`, …) and inboxes.
 */
export function isDataPlaneSubject(subject: string): boolean {
  return PLAIN.test(subject);
}

/** The prefix of an endpoint's inboxes: what its client must be told, such as `inboxPrefix`. */
export function inboxPrefixOf(nkey: string): string {
  return `_INBOX.${nkey}`;
}

/**
 * What an endpoint in these rooms may do. Those that are too many are left out: first come the rooms
 * that it owns, then the oldest.
 */
export function grantOf(
  endpoint: string,
  rooms: readonly Pick<Room, "id" | "subject" | "owner" | "createdAt">[],
): Grant {
  const withheld: string[] = [];
  const leftOut: string[] = [];
  const all = new Set<string>();
  let bytes = 0;
  for (const { id, subject } of rooms.toSorted(inOrder(endpoint))) {
    if (!isDataPlaneSubject(subject)) {
      withheld.push(id);
      continue;
    }
    if (all.has(subject)) continue;
    bytes += bytesOf(subject);
    if (bytes > MOST_BYTES) leftOut.push(id);
    else all.add(subject);
  }
  const subjects = [...all].filter((it) => !isBelowAnother(it, all)).sort();
  return {
    id: createHash("sha256").update(`1\n${subjects.join("\n")}`).digest("hex").slice(0, 32),
    rooms: new Set(rooms.map((it) => it.id)),
    subjects,
    withheld,
    leftOut,
  };
}

type Place = Pick<Room, "id" | "owner" | "createdAt">;

function inOrder(endpoint: string): (a: Place, b: Place) => number {
  return (a, b) => {
    const owns = Number(b.owner === endpoint) - Number(a.owner === endpoint);
    if (owns !== 0) return owns;
    if (a.createdAt !== b.createdAt) return a.createdAt < b.createdAt ? -1 : 1;
    return a.id < b.id ? -1 : 1;
  };
}

/** What a subject takes in {@link permissionsOf}, as JSON: itself and all below it, in two lists. */
function bytesOf(subject: string): number {
  return 4 * Buffer.byteLength(JSON.stringify(subject)) + 8;
}

function isBelowAnother(subject: string, all: ReadonlySet<string>): boolean {
  for (let dot = subject.indexOf("."); dot !== -1; dot = subject.indexOf(".", dot + 1)) {
    if (all.has(subject.slice(0, dot))) return true;
  }
  return false;
}

/**
 * The lists for a user's token. Neither is ever empty, which the server would read as everything.
 */
export function permissionsOf(nkey: string, { subjects }: Grant): Permissions {
  const rooms = subjects.flatMap((it) => [it, `${it}.>`]);
  return {
    pub: { allow: [...rooms, "_INBOX.>"] },
    sub: { allow: [...rooms, `${inboxPrefixOf(nkey)}.>`] },
  };
}

/** The ids that stand for "everything in the account": not looked at, or only reported. */
export type OpenGrant = "off" | "soft";

/** Who a connection is, and what it was let do: the user name we give it. */
export interface Tag {
  /** The endpoint, or `null` where it was not verified. */
  endpoint: string | null;
  /** The {@link Grant.id}, or why it may do everything. */
  grant: string;
}

const UNVERIFIED = "unverified";
const TAG = /^([0-9a-f]{64}|unverified)\.([0-9a-f]{32}|off|soft)$/;

/**
 * Writes the user name of a connection. It is all that the server shows of one (its token and tags it
 * does not), and so tells every control plane on the bus what the connection was let do.
 */
export function formatTag({ endpoint, grant }: Tag): string {
  return `${endpoint ?? UNVERIFIED}.${grant}`;
}

/** Reads a user name; `null` when we did not give it. */
export function parseTag(name: string): Tag | null {
  const [, who, grant] = TAG.exec(name) ?? [];
  if (who === undefined || grant === undefined) return null;
  return { endpoint: who === UNVERIFIED ? null : who, grant };
}
