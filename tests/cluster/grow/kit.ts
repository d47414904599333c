/**
 * Work on a control plane while it moves: writes and reads through HTTP, blobs, clients of the bus, and
 * what of it must be there afterwards.
 *
 * @module
 */

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import {
  type Client,
  createClient,
  createIdentity,
  type Identity,
} from "../../../src/client/mod.ts";
import type { Msg, NatsConnection } from "@nats-io/transport-node";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { openSqlite } from "../../../mod.ts";
import { isStoreError } from "../../../src/core/errors.ts";
import { newUser } from "../../conformance/kit/kit.ts";
import { until } from "../../cli/serve/kit.ts";
import { enrol, newPeer, openRoom, type Peer } from "../../nats/callout/bus.ts";

/** An admin, some users and rooms in a file, and somebody on the bus. */
export interface People {
  admin: Identity;
  peer: Peer;
}

/** Fills a file that a server serves, from another process than the server's. */
export async function populate(db: string, users: number): Promise<People> {
  await using store = openSqlite(db);
  const admin = createIdentity();
  const { signPub, kexPub } = admin;
  await store.addUser({ signPub, kexPub, handle: "admin", role: "admin" });
  for (let i = 0; i < users; i++) await store.addUser(newUser({ handle: `user ${i}` }));
  const peer = newPeer();
  await enrol(store, peer);
  await openRoom(store, "lobby", peer);
  for (let i = 0; i < 20; i++) await openRoom(store, `room-${i}`, peer, [newPeer(), newPeer()]);
  await store.createInvite({ createdBy: signPub });
  return { admin, peer };
}

/** What was written. */
export interface Written {
  /** Signing keys of users, and whether they were added last, or deleted. */
  users: Map<string, boolean>;
  /** Blobs in the same way. */
  blobs: Map<string, boolean>;
}

/** Work in progress. */
export interface Work extends AsyncDisposable {
  readonly written: Written;
  /** Number of acknowledged calls so far. */
  readonly calls: () => number;
  /** Ends it; returns how long the slowest call took, in milliseconds, and what failed. */
  end(): Promise<{ longest: number; failures: string[] }>;
}

/** Milliseconds between two calls of a worker: the machine has other tests to run. */
const BETWEEN_MS = 30;

/** Begins to write and read through HTTP until it is ended. */
export function work(url: string, { admin }: People, written: Written = noneWritten()): Work {
  const client = createClient({ url, identity: admin });
  const failures: string[] = [];
  let running = true;
  let calls = 0;
  let longest = 0;
  const call = async (what: string, make: () => Promise<unknown>) => {
    const began = performance.now();
    try {
      await make();
      calls++;
      return true;
    } catch (error) {
      failures.push(
        `${what}: ${isStoreError(error) ? error.code : ""} ${(error as Error).message}`,
      );
      await new Promise((resolve) => setTimeout(resolve, 50));
      return false;
    } finally {
      longest = Math.max(longest, performance.now() - began);
    }
  };
  const remove = async (
    all: Map<string, boolean>,
    key: string,
    what: string,
    make: () => Promise<unknown>,
  ) => {
    if (await call(what, make)) all.set(key, false);
    // It may be there or not.
    else all.delete(key);
  };
  const repeat = async (round: (i: number) => Promise<void>) => {
    for (let i = 0; running; i++) {
      await round(i);
      await new Promise((resolve) => setTimeout(resolve, BETWEEN_MS));
    }
  };
  const workers = [
    ...[0, 1, 2].map(() =>
      repeat(async (i) => {
        const user = newUser();
        if (!await call("addUser", () => client.addUser(user))) return;
        written.users.set(user.signPub, true);
        if (i % 3 > 0) return;
        await remove(written.users, user.signPub, "deleteUser", () => {
          return client.deleteUser(user.signPub);
        });
      })
    ),
    repeat(async () => {
      await call("getUser", () => client.getUser(admin.signPub));
    }),
    repeat(async (i) => {
      const bytes = randomBytes(1000 + 10 * i);
      const id = createHash("sha256").update(bytes).digest("hex");
      if (!await call("putBlob", () => client.putBlob(bytes))) return;
      written.blobs.set(id, true);
      if (i % 3 === 0) {
        await remove(written.blobs, id, "deleteBlob", () => client.deleteBlob(id));
      }
    }),
  ];
  const stop = async () => {
    running = false;
    await Promise.all(workers);
    client.close();
  };
  return {
    written,
    calls: () => calls,
    end: async () => {
      await stop();
      return { longest, failures };
    },
    [Symbol.asyncDispose]: stop,
  };
}

/** Nothing yet. */
export function noneWritten(): Written {
  return { users: new Map(), blobs: new Map() };
}

/** Requires that a server has everything that was acknowledged, and nothing that was deleted. */
export async function requireWritten(url: string, { admin }: People, written: Written) {
  using client: Client = createClient({ url, identity: admin, timeout: 20_000 });
  const there = new Set<string>();
  for await (const { signPub } of client.users({ limit: 500 })) there.add(signPub);
  const wrong = (all: Map<string, boolean>, has: (key: string) => boolean) =>
    [...all].filter(([key, isThere]) => has(key) !== isThere).map(([key, isThere]) =>
      `${key} ${isThere ? "is missing" : "came back"}`
    );
  assert.deepEqual(wrong(written.users, (it) => there.has(it)), [], url);
  const blobs = new Set<string>();
  for (const [id, isThere] of written.blobs) {
    const found = await client.getBlob(id).catch((error) => {
      if (isStoreError(error, "not_found")) return null;
      throw error;
    });
    if (found === null) continue;
    blobs.add(id);
    const bytes = await new Response(found.body).bytes();
    assert.equal(createHash("sha256").update(bytes).digest("hex"), id);
    assert.ok(isThere, `blob ${id} came back`);
  }
  assert.deepEqual(wrong(written.blobs, (it) => blobs.has(it)), [], url);
}

/** Waits until a client hears what one says; what is said while a connection is away is lost. */
export async function hears(to: NatsConnection, from: NatsConnection): Promise<void> {
  const text = crypto.randomUUID();
  let heard = false;
  const callback = (_: Error | null, msg: Msg) => void (heard ||= msg.string() === text);
  const sub = to.subscribe("room.lobby", { callback });
  try {
    const fits = () => {
      if (!heard) from.publish("room.lobby", text);
      return heard;
    };
    await until(fits, `message from ${from.getServer()} at ${to.getServer()}`, 60_000);
  } finally {
    sub.unsubscribe();
  }
}

/** Connects, again when a busy control plane did not answer the nats-server in time. */
async function admitted(servers: string, nkeySeed: string): Promise<NatsConnection> {
  for (const end = Date.now() + 60_000;;) {
    try {
      return await connectNats({ servers, nkeySeed, retryRefused: true, bootstrapTimeout: 30_000 });
    } catch (error) {
      if (!isStoreError(error) || error.field !== "credentials" || Date.now() > end) throw error;
    }
  }
}

/**
 * Clients of the bus that count how often they were dropped, and for how long they were away. They begin
 * at the first server, and know the others.
 */
export async function busClients(urls: string[], { peer }: People, count: number) {
  const nkeySeed = new TextDecoder().decode(peer.pair.getSeed());
  const seen = { drops: [] as number[], longest: 0 };
  const connections = await Promise.all(
    Array.from({ length: count }, async (_, i) => {
      const connection = await admitted(urls[0]!, nkeySeed);
      connection.setServers(urls);
      seen.drops[i] = 0;
      (async () => {
        let lost = 0;
        for await (const { type } of connection.status()) {
          if (type === "disconnect" && lost === 0) {
            lost = performance.now();
            seen.drops[i]!++;
          } else if (type === "reconnect" && lost > 0) {
            seen.longest = Math.max(seen.longest, performance.now() - lost);
            lost = 0;
          }
        }
      })();
      return connection;
    }),
  );
  return {
    seen,
    connections,
    /** Whether each one can send and hear. */
    async work() {
      for (const it of connections) await hears(it, it);
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all(connections.map((it) => it.close()));
    },
  };
}
