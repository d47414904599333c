/**
 * Who else uses the control plane beside n1: another process with the file open, and another node with the
 * bucket open. Both try all the time, so they write as soon as a side takes it. And who looks that never both do.
 *
 * @module
 */

import { existsSync } from "node:fs";
import type { NatsConnection } from "@nats-io/transport-node";
import { openJetStream, openSqlite, type Store } from "../../../../mod.ts";
import { isStoreError } from "../../../../src/core/errors.ts";
import { connectNats } from "../../../../src/nats/connection/connect.ts";
import { person } from "../../../helpers/sqlite.ts";
import { isInBucket, rawMark, rawRole } from "../raw.ts";
import type { Ledger } from "./ledger.ts";

const wait = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** A writer beside n1. */
export class Peer implements AsyncDisposable {
  /** Number of writes that were answered. */
  acknowledged = 0;
  isPaused = false;
  /** Why it does not write. */
  reason = "";
  readonly #name: string;
  readonly #open: () => Promise<Store | null>;
  readonly #ledger: Ledger;
  #names = 0;
  #running = true;
  #isIdle = true;
  readonly #working: Promise<void>;

  constructor(name: string, ledger: Ledger, open: () => Promise<Store | null>) {
    this.#name = name;
    this.#open = open;
    this.#ledger = ledger;
    this.#working = this.#work();
  }

  /** Resolves when it writes nothing any more. */
  async pause(): Promise<void> {
    this.isPaused = true;
    while (!this.#isIdle) await wait(5);
  }

  async #work(): Promise<void> {
    while (this.#running) {
      await wait(100);
      try {
        await using store = this.isPaused ? null : await this.#open();
        if (store !== null) await this.#write(store);
      } catch (error) {
        if (!isStoreError(error)) throw error;
        this.reason = `${error.code} ${error.message}`;
      }
    }
  }

  /** Writes until it is refused. */
  async #write(store: Store): Promise<void> {
    const fresh = () => `${this.#name}_${++this.#names}`;
    const names = Array.from({ length: 6 }, fresh);
    const there = new Set<string>();
    for (let n = 0; this.#running; n = (n + 1) % names.length) {
      await wait(20);
      if (this.isPaused) continue;
      const name = names[n]!;
      const isThere = there.has(name);
      this.#isIdle = false;
      this.#ledger.begin("user", name, !isThere);
      try {
        await (isThere ? store.deleteUser(person(name).signPub) : store.addUser(person(name)));
        this.#ledger.acknowledge(name);
        this.acknowledged++;
        if (isThere) there.delete(name);
        else there.add(name);
      } catch (error) {
        this.#ledger.fail(name);
        if (isStoreError(error, "refused") || !isStoreError(error)) throw error;
        this.reason = `${error.code} ${error.message}`;
        names[n] = fresh();
        await wait(80);
      } finally {
        this.#isIdle = true;
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#running = false;
    await this.#working;
  }
}

/** Another process that has the file open. */
export function beside(db: string, ledger: Ledger): Peer {
  const open = () => {
    const isHere = existsSync(db) && rawRole(db).role === "primary";
    return Promise.resolve(isHere ? openSqlite(db, { create: false }) : null);
  };
  return new Peer("beside", ledger, open);
}

/** Another node that has the bucket open. */
export async function another(
  servers: string,
  bucket: string,
  ledger: Ledger,
): Promise<Peer & AsyncDisposable> {
  const connection = await connectNats({ servers });
  const options = { connection, bucket, create: false, opTimeout: 3000, bootstrapTimeout: 2000 };
  const open = async () => {
    // As a joined node does: before, it would begin another control plane in an empty bucket.
    const mark = await rawMark(connection as NatsConnection, bucket).catch(() => null);
    return isInBucket(mark) ? await openJetStream(options) : null;
  };
  const peer = new Peer("n2", ledger, open);
  const end = peer[Symbol.asyncDispose].bind(peer);
  return Object.assign(peer, {
    [Symbol.asyncDispose]: async () => {
      await end();
      await connection.close();
    },
  });
}

/** Looks at both sides all the time. */
export class Looks implements AsyncDisposable {
  /** Moments at which both sides would have served. */
  readonly both: string[] = [];
  /** Number of looks that saw both sides. */
  number = 0;
  #running = true;
  readonly #looking: Promise<void>;

  constructor(connection: NatsConnection, db: string, bucket: string) {
    this.#looking = this.#look(connection, db, bucket);
  }

  async #look(connection: NatsConnection, db: string, bucket: string): Promise<void> {
    while (this.#running) {
      await wait(50);
      try {
        const before = await rawMark(connection, bucket);
        const role = rawRole(db);
        const after = await rawMark(connection, bucket);
        this.number++;
        // The file was read while the mark did not change.
        if (before?.revision !== after?.revision || !isInBucket(after)) continue;
        if (role.role === "primary" && !role.frozen) {
          this.both.push(JSON.stringify({ role, mark: after }));
        }
      } catch { /* Nobody leads the bucket, or the file is being replaced. */ }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#running = false;
    await this.#looking;
  }
}
