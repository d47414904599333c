/**
 * A control plane to damage: a server's disk with users of whom many must never be let in again, the
 * disk as it was before they were revoked, and a follower's file that has seen it all.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { cp } from "node:fs/promises";
import { openJetStream } from "../../../mod.ts";
import { followStore } from "../../../mod.ts";
import { BulkWriter } from "../../../src/jetstream/log/bulk.ts";
import { scan } from "../../../src/jetstream/log/feed.ts";
import { openBucket } from "../../../src/jetstream/mod.ts";
import { FENCE_KEY, userKey } from "../../../src/jetstream/records/keys.ts";
import { encodeUser } from "../../../src/jetstream/records/values.ts";
import { type TestServer, testServer } from "../../helpers/nats.ts";
import { newRoom, person } from "../../helpers/sqlite.ts";

/** The latest message of each key with data: its sequence and a hash of its value. */
export type Content = Map<string, string>;

/** What is damaged: copies of it. */
export interface World {
  /** Holds `store`, `early` (the disk before anybody was revoked) and `follower.db`. */
  folder: string;
  /** The keys of users who were revoked or deleted. */
  bad: string[];
  /** The keys of active users. */
  good: string[];
  /** What the stream holds. */
  content: Content;
}

/** Makes a world: of its users a third is revoked, a ninth deleted. */
export async function makeWorld(folder: string, users: number): Promise<World> {
  await using server = await testServer();
  const world: World = { folder, bad: [], good: [], content: new Map() };
  await fill(server, users);
  await server.stop();
  await cp(`${server.directory}/store`, `${folder}/early`, { recursive: true });
  await server.restart();
  await using follower = await followStore({
    nats: { servers: server.url },
    db: `${folder}/follower.db`,
  });
  await shutOut(server.url, users, world);
  await follower.whenExact();
  world.content = await contentOf(server.url);
  await follower.whenExact();
  await follower.close();
  await server.stop();
  await cp(`${server.directory}/store`, `${folder}/store`, { recursive: true });
  return world;
}

async function fill(server: TestServer, users: number): Promise<void> {
  await using store = await openJetStream({ servers: server.url });
  await store.addUser({ ...person("admin"), role: "admin" });
  await writeUsers(server.url, users, 0, () => true);
  for (let i = 0; i < 10; i++) await store.createRoom(newRoom(`early${i}`, 5));
}

/** Writes users: of those who are revoked, what revoking them writes. */
export async function writeUsers(
  servers: string,
  users: number,
  from: number,
  isActive: (i: number) => boolean,
): Promise<void> {
  const { bucket, end } = await openBucket({ servers, create: false });
  const writer = new BulkWriter(bucket);
  const createdAt = "2026-01-01T00:00:00.000Z";
  for (let i = from; i < from + users; i++) {
    const active = isActive(i);
    const user = { ...person(i), createdAt, revokedAt: active ? null : createdAt };
    const status = active ? "active" : "revoked";
    await writer.write(userKey(user.signPub), encodeUser({ ...user, role: "user", status }));
  }
  await writer.flush();
  await end();
}

/** Revokes and deletes users, and writes rooms. */
export async function shutOut(servers: string, users: number, world: World): Promise<void> {
  await using store = await openJetStream({ servers });
  const { bucket, end } = await openBucket({ servers, create: false });
  const writer = new BulkWriter(bucket);
  for (let i = 0; i < users; i++) {
    const { signPub } = person(i);
    if (i % 3 > 0 && i % 9 > 1) world.good.push(signPub);
    else world.bad.push(signPub);
    if (i % 9 === 1) await writer.write(userKey(signPub), null);
    else if (i % 3 === 0) {
      const it = { ...person(i), role: "user", status: "revoked" } as const;
      const at = "2026-01-01T00:00:00.000Z";
      await writer.write(userKey(signPub), encodeUser({ ...it, createdAt: at, revokedAt: at }));
    }
  }
  await writer.flush();
  await end();
  for (let i = 0; i < 10; i++) await store.createRoom(newRoom(`room${i}`, 5));
  for (let i = 0; i < 5; i++) await store.deleteRoom(`room${i}`);
  // Some as every program does it, and the last: at the very end of the stream.
  for (let i = 0; i < 20; i++) {
    const signPub = world.good.splice(Math.floor(i * world.good.length / 20), 1)[0]!;
    world.bad.push(signPub);
    if (i % 4 === 0) await store.deleteUser(signPub);
    else await store.revokeUser(signPub);
  }
}

/** How long reading a stream may take, milliseconds. */
const PATIENCE = 30_000;

/**
 * What a stream holds, by keys, read by a client that knows nothing of followers.
 *
 * @param server Whose replica; that of any server if not given
 */
export async function contentOf(servers: string, server?: string): Promise<Content> {
  const content: Content = new Map();
  const { bucket, end } = await openBucket({ servers, create: false, bootstrapTimeout: PATIENCE });
  try {
    await scan(bucket, {
      patience: PATIENCE,
      signal: AbortSignal.timeout(PATIENCE),
      ...(server !== undefined && { server, piece: 1000 }),
      onEntry: ({ key, revision, data }) => {
        if (key === FENCE_KEY) return;
        if (data.length === 0) content.delete(key);
        else content.set(key, `${revision} ${createHash("sha256").update(data).digest("hex")}`);
      },
    });
  } finally {
    await end();
  }
  return content;
}

/** The keys whose latest message is another, or that one of the two lacks. */
export function differences(a: Content, b: Content): string[] {
  return [...new Set([...a.keys(), ...b.keys()])].filter((key) => a.get(key) !== b.get(key));
}
