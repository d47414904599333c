/**
 * Checks a bucket, and corrects what can be corrected without a decision: the indexes, what
 * a killed process left of an unfinished change, and records under a key that no reader looks for.
 *
 * @module
 */

import type { StreamInfo } from "@nats-io/jetstream";
import type { RecordProblem } from "../../core/errors.ts";
import { recordFindings } from "../../core/checks/findings.ts";
import { counted, wordFor } from "../../core/text/counted.ts";
import { alive, type Bucket } from "../log/bucket.ts";
import { BulkWriter } from "../log/bulk.ts";
import { isData } from "../contents/compare.ts";
import { Cache } from "../cache/cache.ts";
import { Context } from "../transactions/context.ts";
import { scan } from "../log/feed.ts";
import { Fence } from "../log/fence.ts";
import { fsyncState } from "../log/fsync.ts";
import { indexKey, memberKey, type ParsedKey, parseKey, roomKey } from "../records/keys.ts";
import { incompleteOf, readMarker } from "../log/marker.ts";
import { Admins } from "./admins.ts";
import { mendRecords } from "./mend.ts";
import { type JetStreamOptions, openBucket } from "../mod.ts";
import { RoomTransactions } from "../transactions/rooms.ts";
import { archiveInfo, archiveOf } from "../history/archive.ts";
import { lastArchived, readBatch } from "../history/messages.ts";
import { isCurrent, streamInfo } from "../log/stream.ts";
import { BucketRecords } from "../contents/stored.ts";
import { decodeRoom, encodeIndex, isAccepted, readable } from "../records/values.ts";
import { wait } from "../log/wire.ts";
import { show } from "../../core/validate.ts";

/** The result of a check. */
export interface Finding {
  /** The check. */
  check:
    | "server"
    | "fsync"
    | "replicas"
    | "marker"
    | "index"
    | "admins"
    | "rooms"
    | "records"
    | "archive";
  /** `problem` needs to be fixed; `unknown` could not be checked. */
  level: "ok" | "warning" | "problem" | "unknown";
  /** The result and what to do. */
  message: string;
  /** The invalid record. */
  record?: RecordProblem;
  /** Whether it was repaired. */
  repaired?: boolean;
}

/** Options of {@link diagnose}. */
export interface DiagnoseOptions extends JetStreamOptions {
  /** Repair problems that can be repaired without losing a record. */
  repair?: boolean;
}

/**
 * Checks a bucket: the server's version and disk sync, replicas, migration state, whether the archive of
 * the history lags by more than a day, the index by endpoint against the members, the index of admins
 * against the users, unfinished changes of rooms, and every key and record.
 *
 * @param options Options of `openJetStream`; `monitorUrl` to check whether the server syncs
 * @returns One finding per check, or several if there are problems
 */
export async function diagnose(options: DiagnoseOptions): Promise<Finding[]> {
  const { repair = false, signal } = options;
  const { bucket, info, end } = await openBucket({ ...options, create: false });
  try {
    const findings: Finding[] = [];
    const { version } = bucket.nc.info as { version?: string };
    findings.push({ check: "server", level: "ok", message: `nats-server ${version}` });
    findings.push(await fsyncFinding(options.monitorUrl));
    findings.push(await replicasFinding(bucket, info, signal));
    findings.push(await markerFinding(bucket));
    findings.push(await archiveFinding(bucket));
    const opTimeout = options.opTimeout ?? 5000;
    // First, because repairing a key changes the expected index.
    if (repair) findings.push(...await mend(bucket, opTimeout, signal));
    findings.push(...await content(bucket, opTimeout, repair, signal));
    using stored = await BucketRecords.read(bucket, signal);
    findings.push(...await recordFindings(stored, signal));
    return findings;
  } finally {
    await end();
  }
}

/** Time in milliseconds for replicas to catch up: under load, one is always briefly behind. */
const SETTLE = 3000;

async function replicasFinding(
  bucket: Bucket,
  found: StreamInfo,
  signal?: AbortSignal,
): Promise<Finding> {
  let info: StreamInfo | null = found;
  for (const deadline = Date.now() + SETTLE; info !== null && !isCurrent(info);) {
    if (Date.now() >= deadline) break;
    await wait(100, signal);
    info = await streamInfo(bucket, Date.now() + SETTLE, signal);
  }
  const replicas = found.config.num_replicas;
  if (info !== null && isCurrent(info)) {
    const message = `${replicas} of ${counted(replicas, "replica")} current`;
    return { check: "replicas", level: "ok", message };
  }
  const message = `Not all of the ${replicas} replicas are current; check the servers' logs`;
  return { check: "replicas", level: "problem", message };
}

async function fsyncFinding(monitorUrl: string | undefined): Promise<Finding> {
  switch (await fsyncState(monitorUrl)) {
    case "always":
      return {
        check: "fsync",
        level: "ok",
        message: "The server syncs writes before it acknowledges them",
      };
    case "never":
      return {
        check: "fsync",
        level: "problem",
        message:
          "The server acknowledges writes before it syncs them: a power failure loses acknowledged " +
          "writes; set sync_interval: always in its jetstream block",
      };
    default:
      return {
        check: "fsync",
        level: "unknown",
        message: monitorUrl === undefined
          ? "Unknown whether the server syncs; set the URL of its monitoring port to check"
          : `${monitorUrl} does not report whether the server syncs`,
      };
  }
}

/** How far the archive of the history may be behind, milliseconds: entries leave the bucket after days. */
const ARCHIVE_LAG = 24 * 3600_000;

async function archiveFinding(bucket: Bucket): Promise<Finding> {
  const of = (level: Finding["level"], message: string): Finding => ({
    check: "archive",
    level,
    message,
  });
  const deadline = Date.now() + 5000;
  const { stream } = archiveOf(bucket.name);
  const info = await archiveInfo(bucket, deadline);
  const end = info && await lastArchived(bucket, deadline);
  const from = (end?.origin ?? 0) + 1;
  // Read after the archive, which only follows it.
  const last = (await streamInfo(bucket, deadline))?.state.last_seq ?? 0;
  // Then nothing is taken over until the bucket has come as far.
  if (from > last + 1) {
    return of(
      "problem",
      `Stream ${stream} has entries up to sequence ${
        from - 1
      }, the bucket ends at ${last}: it was created ` +
        "again or put back, and its new entries are kept for 7 days only; run membershipd repair --from " +
        `follower, or save it with membershipd log --json, delete stream ${stream} and restart membershipd`,
    );
  }
  const [waiting] = await readBatch(bucket, "bucket", from, { count: 1, deadline });
  if (waiting === undefined) {
    if (info === null) return of("ok", "No history is kept");
    return of("ok", `Stream ${stream} has all entries of the history`);
  }
  const since = waiting.placed?.entry.at;
  const lacks = `${
    info === null ? `There is no stream ${stream}` : `Stream ${stream} is behind`
  }: it lacks entries of the history since ${since ?? `sequence ${waiting.sequence}`}`;
  if (since !== undefined && Date.now() - Date.parse(since) > ARCHIVE_LAG) {
    return of(
      "problem",
      `${lacks}; it must take them before they expire in the bucket, after 7 days`,
    );
  }
  // It always is for a moment.
  return of(info === null ? "warning" : "ok", lacks);
}

async function markerFinding(bucket: Bucket): Promise<Finding> {
  const read = await readMarker(bucket, Date.now() + 5000);
  const { marker } = read;
  if (marker === null) {
    return { check: "marker", level: "ok", message: "No move or import was started" };
  }
  const incomplete = incompleteOf(bucket, read);
  if (incomplete === null) {
    return {
      check: "marker",
      level: "ok",
      message: `The ${marker.by} of ${marker.completedAt} is complete`,
    };
  }
  return {
    check: "marker",
    level: "problem",
    message: `${incomplete.message}; ${incomplete.hint}`,
  };
}

/** Maximum number of records named in a message. */
const NAMED = 10;

interface Content {
  /** Expected index keys, and the keys of their members. */
  members: Map<string, string>;
  /** Existing index keys, and whether they agree with their member. */
  index: Map<string, boolean>;
  unfinished: Set<string>;
  rooms: Set<string>;
  /** Keys of members and sealed keys by room. */
  byRoom: Map<string, string[]>;
  /**
   * Whether the key of a room cannot be read; records that seem to have no room may belong to it.
   */
  isRoomUnread: boolean;
  admins: Admins;
}

async function read(bucket: Bucket, signal?: AbortSignal): Promise<Content> {
  /** Keys, and for members and their index entries whether they are accepted. */
  const live = new Map<string, boolean>();
  const unfinished = new Set<string>();
  const unread = new Set<string>();
  const admins = new Admins();
  await scan(bucket, {
    signal,
    onEntry: (entry) => {
      const { key, data } = entry;
      admins.take(entry);
      const parsed = isData(key) ? parseKey(key) : null;
      if (parsed === null && key.startsWith("rooms.")) {
        if (data.length > 0) unread.add(key);
        else unread.delete(key);
      }
      if (parsed === null || !isOfRoom(parsed)) return;
      if (data.length > 0) live.set(key, saysAccepted(key, data));
      else live.delete(key);
      if (parsed.space !== "rooms") return;
      if (data.length > 0 && isPending(key, parsed.id, data)) unfinished.add(parsed.id);
      else unfinished.delete(parsed.id);
    },
  });
  const content: Content = {
    members: new Map(),
    index: new Map(),
    unfinished,
    rooms: new Set(),
    byRoom: new Map(),
    isRoomUnread: unread.size > 0,
    admins,
  };
  for (const [key, accepted] of live) {
    const parsed = parseKey(key)!;
    if (parsed.space === "rooms") content.rooms.add(parsed.id);
    else if (parsed.space === "rooms_by_member") {
      // Entries of unfinished rooms are handled with the room.
      if (!unfinished.has(parsed.room)) {
        const member = memberKey(parsed.room, parsed.endpoint);
        content.index.set(key, (live.get(member) ?? accepted) === accepted);
      }
    }
    if (parsed.space === "members" || parsed.space === "room_keys") {
      const keys = content.byRoom.get(parsed.room) ?? [];
      keys.push(key);
      content.byRoom.set(parsed.room, keys);
    }
  }
  for (const [room, keys] of content.byRoom) {
    if (!content.rooms.has(room) || unfinished.has(room)) continue;
    for (const key of keys) {
      const parsed = parseKey(key)!;
      if (parsed.space === "members") content.members.set(indexKey(parsed.endpoint, room), key);
    }
  }
  return content;
}

function isOfRoom({ space }: ParsedKey): boolean {
  return space !== "users" && space !== "admins" && space !== "invites";
}

/** Reports whether a value is accepted; an unreadable one is reported by another check. */
function saysAccepted(key: string, data: Uint8Array): boolean {
  try {
    return isAccepted(key, data);
  } catch {
    return true;
  }
}

/** Reports whether a change of a room is under way; not for an unreadable one, which another check reports. */
function isPending(key: string, id: string, data: Uint8Array): boolean {
  const stored = readable(() => decodeRoom(key, id, data));
  return stored !== null && stored.pending !== null;
}

/** Repairs records with keys that readers do not look up. */
async function mend(bucket: Bucket, opTimeout: number, signal?: AbortSignal): Promise<Finding[]> {
  using stored = await BucketRecords.read(bucket, signal);
  const count = await mendRecords(bucket, stored, opTimeout, signal);
  if (count === 0) return [];
  const message = `${counted(count, "record")} had a key that readers do not look up`;
  return [{ check: "records", level: "problem", message, repaired: true }];
}

async function content(
  bucket: Bucket,
  opTimeout: number,
  repair: boolean,
  signal?: AbortSignal,
): Promise<Finding[]> {
  const { members, index, unfinished, rooms, byRoom, isRoomUnread, admins } = await read(
    bucket,
    signal,
  );
  const entryOf = async (key: string) => alive(await bucket.get(key, Date.now() + opTimeout));
  const isThere = async (key: string) => await entryOf(key) !== null;
  const orphans = [...byRoom].filter(([room]) => !rooms.has(room)).flatMap(([, keys]) => keys);
  const wrong = [...members.keys()].filter((key) => index.get(key) !== true);
  const extra = [...index.keys()].filter((key) => !members.has(key));
  if (repair) {
    if (unfinished.size > 0) {
      const fence = new Fence(bucket, opTimeout);
      const cache = new Cache(bucket, fence, { maxStaleness: 5000, opTimeout, maxMembers: 0 });
      const transactions = new RoomTransactions(
        new Context(bucket, fence, cache, { opTimeout, keepsHistory: false }),
      );
      for (const id of unfinished) await transactions.cleanUp(id);
    }
    const writer = new BulkWriter(bucket, { signal });
    for (const [room, keys] of byRoom) {
      if (isRoomUnread || rooms.has(room) || await isThere(roomKey(room))) continue;
      for (const key of keys) await writer.write(key, null);
    }
    await writer.flush();
    // Checked again: since the scan, a server may have repaired or changed any of them.
    for (const key of wrong) {
      const member = await entryOf(members.get(key)!);
      if (member === null) continue;
      const accepted = saysAccepted(member.key, member.data);
      await writer.write(key, encodeIndex({ accepted }));
    }
    for (const key of extra) {
      const parsed = parseKey(key);
      if (parsed?.space !== "rooms_by_member") continue;
      const member = memberKey(parsed.room, parsed.endpoint);
      if (!await isThere(member)) await writer.write(key, null);
    }
    await writer.flush();
  }
  const finding = (
    check: "index" | "rooms",
    count: number,
    good: string,
    bad: string,
    repaired = repair,
  ): Finding =>
    count === 0
      ? { check, level: "ok", message: good }
      : { check, level: "problem", message: bad, ...(repaired ? { repaired: true } : {}) };
  const named = orphans.slice(0, NAMED).map((it) => show(it, 400)).join(", ");
  const more = orphans.length > NAMED ? `, and ${orphans.length - NAMED} more` : "";
  return [
    finding(
      "index",
      wrong.length + extra.length,
      `The index is consistent with ${counted(members.size, "member")}`,
      `The index has ${wrong.length} missing or wrong and ` +
        `${counted(extra.length, "extra entry", "extra entries")}; use --repair to fix it`,
    ),
    await admins.check(bucket, opTimeout, repair),
    finding(
      "rooms",
      unfinished.size,
      `${counted(rooms.size, "room")}, all complete`,
      `${counted(unfinished.size, "room is", "rooms are")} unfinished; use ` +
        `--repair to complete or remove ${wordFor(unfinished.size, "it", "them")}`,
    ),
    ...(orphans.length === 0 ? [] : [finding(
      "rooms",
      orphans.length,
      "",
      `${
        counted(orphans.length, "record belongs", "records belong")
      } to no room (${named}${more}); ` +
        (isRoomUnread
          ? "kept, because the key of a room cannot be read"
          : `use --repair to remove ${wordFor(orphans.length, "it", "them")}`),
      repair && !isRoomUnread,
    )]),
  ];
}
