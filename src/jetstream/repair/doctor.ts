/**
 * Checks a bucket, and corrects what can be corrected without a decision: the indexes, what
 * a killed process left of an unfinished change, and records under a key that no reader looks for.
 *
 * @module
 */

import type { StreamInfo } from "@nats-io/jetstream";
import { isStoreError, type RecordProblem } from "../../core/errors.ts";
import { recordFindings } from "../../core/checks/findings.ts";
import { alive, type Bucket } from "../log/bucket.ts";
import { BulkWriter } from "../log/bulk.ts";
import { isData } from "../contents/compare.ts";
import { Cache } from "../cache/cache.ts";
import { Context } from "../transactions/context.ts";
import { scan } from "../log/feed.ts";
import { Fence } from "../log/fence.ts";
import { fsyncState } from "../log/fsync.ts";
import { indexKey, memberKey, type ParsedKey, parseKey, roomKey } from "../records/keys.ts";
import { readMarker } from "../log/marker.ts";
import { Admins } from "./admins.ts";
import { mendRecords } from "./mend.ts";
import { type JetStreamOptions, openBucket } from "../mod.ts";
import { RoomTransactions } from "../transactions/rooms.ts";
import { isCurrent, streamInfo } from "../log/stream.ts";
import { BucketRecords } from "../contents/stored.ts";
import { decodeRoom, encodeIndex, isAccepted } from "../records/values.ts";
import { wait } from "../log/wire.ts";
import { show } from "../../core/validate.ts";

/** One thing that was looked at. */
export interface Finding {
  /** What was looked at. */
  check: "server" | "fsync" | "replicas" | "marker" | "index" | "admins" | "rooms" | "records";
  /** `problem` wants mending; `unknown` could not be told. */
  level: "ok" | "warning" | "problem" | "unknown";
  /** What was found, and what to do. */
  message: string;
  /** The record at fault. */
  record?: RecordProblem;
  /** It was put right. */
  repaired?: boolean;
}

/** What {@link diagnose} takes. */
export interface DiagnoseOptions extends JetStreamOptions {
  /** Put right what can be put right. */
  repair?: boolean;
}

/**
 * Checks a bucket: the server's version and whether it syncs, replicas, the mark of a move, the
 * index by endpoint against the members, the index of admins against the users, unfinished changes of
 * rooms, and every key and record.
 *
 * @param options As for `openJetStream`; `monitorUrl` to see whether the server syncs
 * @returns One finding a check, or more where something is wrong
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
    const opTimeout = options.opTimeout ?? 5000;
    // First: correcting a key changes what the index must hold.
    if (repair) findings.push(...await mend(bucket, opTimeout, signal));
    findings.push(...await content(bucket, opTimeout, repair, signal));
    using stored = await BucketRecords.read(bucket, signal);
    findings.push(...await recordFindings(stored, signal));
    return findings;
  } finally {
    await end();
  }
}

/** For how long a replica may be behind and come up, milliseconds: under load one always is for a moment. */
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
    const message = `${replicas} of ${replicas} replicas are current`;
    return { check: "replicas", level: "ok", message };
  }
  const message = `Not all of the ${replicas} replicas are current; look at the servers' logs`;
  return { check: "replicas", level: "problem", message };
}

async function fsyncFinding(monitorUrl: string | undefined): Promise<Finding> {
  switch (await fsyncState(monitorUrl)) {
    case "always":
      return { check: "fsync", level: "ok", message: "The server syncs before it acknowledges" };
    case "never":
      return {
        check: "fsync",
        level: "problem",
        message:
          "The server acknowledges before it syncs: a power cut loses acknowledged writes; set sync_interval: always in its jetstream block",
      };
    default:
      return {
        check: "fsync",
        level: "unknown",
        message: monitorUrl === undefined
          ? "Only the server's monitoring port tells whether it syncs; give its URL"
          : `${monitorUrl} does not tell whether the server syncs`,
      };
  }
}

async function markerFinding(bucket: Bucket): Promise<Finding> {
  const { marker } = await readMarker(bucket, Date.now() + 5000);
  if (marker === null) {
    return { check: "marker", level: "ok", message: "No move or import was made" };
  }
  if (marker.state === "complete") {
    return {
      check: "marker",
      level: "ok",
      message: `The ${marker.by} of ${marker.completedAt} is complete`,
    };
  }
  return {
    check: "marker",
    level: "problem",
    message: `The ${marker.by} of ${marker.startedAt} did not complete; run it again`,
  };
}

/** How many records a message names. */
const NAMED = 10;

interface Content {
  /** Index keys that must be there, and the members they stand for. */
  members: Map<string, string>;
  /** Index keys that are there, and whether they say what the member says. */
  index: Map<string, boolean>;
  unfinished: Set<string>;
  rooms: Set<string>;
  /** Keys of members and sealed keys by their room, for rooms that are not there. */
  byRoom: Map<string, string[]>;
  /** Whether there is a room under a key that cannot be read: what seems to belong to no room may be its. */
  isRoomUnread: boolean;
  admins: Admins;
}

async function read(bucket: Bucket, signal?: AbortSignal): Promise<Content> {
  /** Keys, and what members and their index entries say of having accepted. */
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
      // Those of unfinished rooms go with the room.
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

/** A value that cannot be read is found where it is needed; here it must not hide the rest. */
function saysAccepted(key: string, data: Uint8Array): boolean {
  try {
    return isAccepted(key, data);
  } catch {
    return true;
  }
}

function isPending(key: string, id: string, data: Uint8Array): boolean {
  try {
    return decodeRoom(key, id, data).pending !== null;
  } catch (error) {
    // Named by the check of the records.
    if (isStoreError(error, "corrupt")) return false;
    throw error;
  }
}

/** Corrects the records that readers do not find under their keys. */
async function mend(bucket: Bucket, opTimeout: number, signal?: AbortSignal): Promise<Finding[]> {
  using stored = await BucketRecords.read(bucket, signal);
  const count = await mendRecords(bucket, stored, opTimeout, signal);
  if (count === 0) return [];
  const message = `${count} records were written in another form than readers look for`;
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
      const transactions = new RoomTransactions(new Context(bucket, fence, cache, opTimeout));
      for (const id of unfinished) await transactions.cleanUp(id);
    }
    const writer = new BulkWriter(bucket, { signal });
    for (const [room, keys] of byRoom) {
      if (isRoomUnread || rooms.has(room) || await isThere(roomKey(room))) continue;
      for (const key of keys) await writer.write(key, null);
    }
    await writer.flush();
    // Looked at once more: since the scan, a server may have put right or changed any of them.
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
      `The index agrees with all ${members.size} members`,
      `The index lacks or contradicts ${wrong.length} and has ${extra.length} entries too many; repair mends it`,
    ),
    await admins.check(bucket, opTimeout, repair),
    finding(
      "rooms",
      unfinished.size,
      `No room is unfinished, all ${rooms.size} are whole`,
      `${unfinished.size} rooms are unfinished; repair completes or removes them`,
    ),
    ...(orphans.length === 0 ? [] : [finding(
      "rooms",
      orphans.length,
      "",
      `${orphans.length} records belong to no room (${named}${more}); ` +
        (isRoomUnread
          ? "they are kept, as the key of a room cannot be read"
          : "repair removes them"),
      repair && !isRoomUnread,
    )]),
  ];
}
