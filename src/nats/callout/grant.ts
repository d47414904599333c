/**
 * Derives an endpoint's permissions on the bus from its rooms.
 *
 * An endpoint can publish and subscribe to the subject of each of its rooms and everything below
 * it, subscribe to its own inbox, and publish to all inboxes, so that it can reply. A reply subject
 * is known only to the recipients of the request, and no endpoint can subscribe to another's inbox.
 *
 * Replies are not permitted through the server's `allow_responses`: it lets the recipient of a
 * message publish to the message's reply subject, whatever that is. Two members of one room could
 * use it to write into any other room, and a list of denied subjects does not prevent that.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import type { Room } from "../../core/model.ts";
import type { BusAuth } from "../../core/operations.ts";

/** Lists of permitted subjects, as in a user JWT. */
export interface Permissions {
  /** Subjects to publish to. */
  pub: { allow: string[] };
  /** Subjects to subscribe to. */
  sub: { allow: string[] };
}

/** An endpoint's permissions. */
export interface Grant {
  /**
   * A digest: two grants of one endpoint have the same ID if and only if their permissions are
   * equal.
   */
  readonly id: string;
  /** The ids of its rooms. */
  readonly rooms: ReadonlySet<string>;
  /** The subjects of its rooms, sorted, without those that another subject covers. */
  readonly subjects: readonly string[];
  /** IDs of rooms whose subject is not a data plane subject, and so grants no permission. */
  readonly withheld: readonly string[];
  /** IDs of rooms that exceed the size limit. */
  readonly leftOut: readonly string[];
}

/**
 * Size limit of the lists of subjects in bytes: encoded twice, this is 0.9 of the server's maximum
 * message size of 1 MiB. A constant, so that all control planes compute the same grant.
 */
const MOST_BYTES = 500_000;

// deno-lint-ignore no-control-regex
const PLAIN = /^(?![$_])[^.*>\s\u0000-\u001f\u007f]+(?:\.[^.*>\s\u0000-\u001f\u007f]+)*$/;

/**
 * Reports whether a room's subject is a data plane subject. Wildcards and subjects that begin with
 * `$` or `_` are not: those are the server's own (`$SYS`, `$JS`, `$KV`, `$O`, `_R_`, …) and
 * inboxes.
 */
export function isDataPlaneSubject(subject: string): boolean {
  return PLAIN.test(subject);
}

/** Returns the prefix of an endpoint's inboxes, for the client's option `inboxPrefix`. */
export function inboxPrefixOf(nkey: string): string {
  return `_INBOX.${nkey}`;
}

/**
 * Computes the permissions of an endpoint in these rooms. Rooms that exceed the size limit are left
 * out; rooms that it owns have priority, then the oldest ones.
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

/**
 * Size of a subject in {@link permissionsOf} as JSON: the subject and all below it, in two lists.
 */
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
 * Returns the lists of subjects for a user JWT. Neither is ever empty, because the server treats an
 * empty list as everything.
 */
export function permissionsOf(nkey: string, { subjects }: Grant): Permissions {
  const rooms = subjects.flatMap((it) => [it, `${it}.>`]);
  return {
    pub: { allow: [...rooms, "_INBOX.>"] },
    sub: { allow: [...rooms, `${inboxPrefixOf(nkey)}.>`] },
  };
}

/** Grant IDs that stand for "everything in the account": not checked, or only reported. */
export type OpenGrant = Exclude<BusAuth, "enforce">;

/** The endpoint and permissions of a connection, encoded in its user name. */
export interface Tag {
  /** The endpoint, or `null` if it was not verified. */
  endpoint: string | null;
  /** The {@link Grant.id}, or the mode that permits everything. */
  grant: string;
}

const UNVERIFIED = "unverified";
const TAG = /^([0-9a-f]{64}|unverified)\.([0-9a-f]{32}|off|soft)$/;

/**
 * Formats the user name of a connection. The server lists the user name but not the token or its
 * tags, so it tells every control plane on the bus the connection's permissions.
 */
export function formatTag({ endpoint, grant }: Tag): string {
  return `${endpoint ?? UNVERIFIED}.${grant}`;
}

/** Parses a user name; returns `null` if no auth callout formatted it. */
export function parseTag(name: string): Tag | null {
  const [, who, grant] = TAG.exec(name) ?? [];
  if (who === undefined || grant === undefined) return null;
  return { endpoint: who === UNVERIFIED ? null : who, grant };
}
