/**
 * What clients ask of a store, by name and with arguments that JSON can hold.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { rm } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { type Follower, type HistoryEntry, openSqlite, verifyHistory } from "../../../mod.ts";
import { isStoreError } from "../../../src/core/errors.ts";
import type { KeyFor, StoreRecord, User } from "../../../src/core/model.ts";
import { backupFollower } from "../../../src/follower/backup.ts";
import { flip, openStill, requireComplete } from "../../../src/follower/flip.ts";
import { allRecords } from "../../../src/sqlite/file/all_rows.ts";
import type { OpenHistory } from "../../../src/sqlite/open_history.ts";
import { SnapshotDigest } from "../../../src/snapshot/mod.ts";
import type { Store } from "../../../src/core/store.ts";
import { invariantProblems, recordProblems } from "../../conformance/kit/invariants.ts";
import type { Json } from "./judge/history.ts";
import { statesOf } from "./judge/models.ts";

/** 64 hex digits that depend on nothing but the name. */
export function hexOf(name: string): string {
  return createHash("sha256").update(name).digest("hex");
}

const kexOf = (signPub: string) => hexOf(`kex ${signPub}`);
const memberOf = (endpoint: string) => ({ endpoint, kexPub: kexOf(endpoint) });
const keyFor = (endpoint: string, epoch: number): KeyFor => ({
  endpoint,
  sealedKey: new TextEncoder().encode(`key of ${epoch} for ${endpoint}`),
});
const shown = ({ status, role, handle }: User) => ({ status, role, handle });

/** Does one thing. */
export async function perform(store: Store, op: string, args: Json): Promise<Json> {
  switch (op) {
    case "isAuthorized":
      return await store.isAuthorized(args.signPub);
    case "addUser": {
      const { signPub, role, handle } = args;
      await store.addUser({ signPub, kexPub: kexOf(signPub), role, handle });
      return null;
    }
    case "getUser":
      return shown(await store.getUser(args.signPub));
    case "revokeUser":
      return shown(await store.revokeUser(args.signPub));
    case "restoreUser":
      return shown(await store.restoreUser(args.signPub));
    case "deleteUser":
      return await store.deleteUser(args.signPub);
    case "createInvite": {
      const { role, expiresIn } = args;
      const { invite, token } = await store.createInvite({ createdBy: "chaos", role, expiresIn });
      return { id: invite.id, expiresAt: invite.expiresAt, token };
    }
    case "consumeInvite": {
      const { token, signPub, handle } = args;
      await store.consumeInvite(token, { signPub, kexPub: kexOf(signPub), handle });
      return null;
    }
    case "cancelInvite":
      await store.cancelInvite(args.id);
      return null;
    case "getInvite": {
      const { usedBy, canceledAt } = await store.getInvite(args.id);
      return { usedBy, canceledAt };
    }
    case "createRoom": {
      const { id, subject, members } = args;
      const [owner, ...others] = members.map(memberOf);
      await store.createRoom({
        id,
        subject,
        owner: owner!,
        members: others,
        sealedKeys: members.map((it: string) => keyFor(it, 1)),
      });
      return null;
    }
    case "rekeyRoom": {
      const { id, epoch } = args;
      const sealedKeys = (await membersOf(store, id)).map((it) => keyFor(it, epoch));
      const room = await store.rekeyRoom(id, { epoch, sealedKeys });
      return { epoch: room.epoch, subject: room.subject };
    }
    case "getRoom": {
      const { epoch, subject } = await store.getRoom(args.id);
      return { epoch, subject };
    }
    case "deleteRoom":
      return await store.deleteRoom(args.id);
    case "addMember": {
      const { epoch } = await store.getRoom(args.id);
      const { sealedKey } = keyFor(args.endpoint, epoch);
      await store.addMember(args.id, memberOf(args.endpoint), { epoch, sealedKey });
      return null;
    }
    case "removeMember":
      return await store.removeMember(args.id, args.endpoint);
    case "audit":
      return { problems: recordProblems(await recordsOf(store), { everyMemberHasKey: true }) };
    case "snapshot":
      return await snapshotOf(store);
    case "history":
      return await historyOf(store);
    default:
      throw new Error(`No such call: ${op}`);
  }
}

/** The members as a list has them, which may be a while old; what is done with them decides. */
async function membersOf(store: Store, id: string): Promise<string[]> {
  try {
    return (await store.listMembers(id)).items.map((it) => it.endpoint);
  } catch (error) {
    if (isStoreError(error, "not_found")) return [hexOf(`owner of ${id}`)];
    throw error;
  }
}

async function recordsOf(store: Store): Promise<StoreRecord[]> {
  const records: StoreRecord[] = [];
  for await (const it of store.records()) records.push(it);
  return records;
}

async function snapshotOf(store: Store): Promise<Json> {
  const problems = await invariantProblems(store, { everyMemberHasKey: true });
  return { problems, ...summaryOf(await recordsOf(store)) };
}

function summaryOf(records: StoreRecord[]): Json {
  const digest = new SnapshotDigest();
  for (const it of records) digest.add(it);
  return { digest: digest.summary().digest, ...statesOf(records) };
}

/** All entries of the history, and what is wrong with their chain. */
export async function historyOf(store: Store, copy?: OpenHistory): Promise<Json> {
  const { problems, end } = await verifyHistory(store, { ...copy && { copy } });
  const entries: HistoryEntry[] = [];
  for (let after: string | null = null;;) {
    const { items, next } = await store.history({ after, limit: 1000 });
    entries.push(...items);
    if (next === null) break;
    after = next;
  }
  return { entries, end, problems: problems.map((it) => it.message) };
}

/** What the file of a follower holds, once that is everything written before the call. */
export async function followed(follower: Follower): Promise<Json> {
  const { digest } = await follower.whenExact();
  using db = new DatabaseSync(follower.path, { readOnly: true });
  db.exec("BEGIN");
  const records = [...allRecords(db)];
  const problems = recordProblems(records, { everyMemberHasKey: true });
  return { problems, followerDigest: digest, ...summaryOf(records) };
}

/** A position of the stream behind everything that was acknowledged before the call. */
export async function marked(follower: Follower): Promise<Json> {
  const { position } = await follower.whenExact();
  return { position };
}

/** Copies a follower while it follows, and promotes the copy. */
export async function promoted(follower: Follower, path: string): Promise<Json> {
  await follower.whenExact();
  await backupFollower(follower.path, path);
  return await promotedFile(path);
}

/** What a store holds that a follower's file becomes; the file is removed. */
export async function promotedFile(path: string): Promise<Json> {
  try {
    let position: number;
    {
      using file = openStill(path);
      requireComplete(file);
      position = file.held.position;
      // The cluster works, so the command would refuse.
      flip(file, { generation: 1, by: "test" });
    }
    await using store = openSqlite(path);
    return { position, ...await snapshotOf(store) };
  } finally {
    for (const end of ["", "-wal", "-shm", ".follower-lock"]) await rm(path + end, { force: true });
  }
}
