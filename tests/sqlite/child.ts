/**
 * What another process does in the tests of SQLite files: a task and its arguments. Says `ready`,
 * waits for a line on stdin (or its end), and prints its result as one line.
 *
 * @module
 */

import { DatabaseSync } from "node:sqlite";
import { createInterface } from "node:readline";
import process from "node:process";
import { isStoreError } from "../../src/core/errors.ts";
import { openSqlite } from "../../src/sqlite/mod.ts";
import { openSource } from "../../src/sqlite/file/source.ts";
import { person } from "../helpers/sqlite.ts";

const input = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function ready(): Promise<void> {
  console.log("ready");
  await input.next();
}

async function codeOf(work: () => unknown): Promise<string> {
  try {
    await work();
    return "done";
  } catch (error) {
    return isStoreError(error) ? error.code : String(error);
  }
}

const TASKS: Record<string, (...args: string[]) => Promise<string>> = {
  /** Has the store open. */
  async hold(path) {
    await using _store = openSqlite(path!);
    await ready();
    return "closed";
  },

  /** Has the file as a source. */
  async source(path) {
    using _source = openSource(path!);
    await ready();
    return "closed";
  },

  /** Has a write transaction open. */
  async lock(path) {
    const db = new DatabaseSync(path!);
    db.exec("BEGIN IMMEDIATE");
    await ready();
    db.close();
    return "closed";
  },

  /** Opens the file at a word, and reads the identity it finds. */
  async open(path) {
    await ready();
    await using _store = openSqlite(path!);
    const db = new DatabaseSync(path!, { readOnly: true });
    const row = db.prepare("SELECT value FROM meta WHERE key = 'store_id'").get();
    db.close();
    return String(row?.value);
  },

  /** Tries to open the file, read it and write to it. */
  async use(path, mode) {
    await ready();
    const results: string[] = [];
    const readOnly = mode === "readOnly";
    results.push(
      await codeOf(async () => {
        await using store = openSqlite(path!, { readOnly, busyTimeout: 50 });
        results.push(await codeOf(() => store.listUsers()));
        results.push(await codeOf(() => store.addUser(person(`used by ${process.pid}`))));
      }),
    );
    return results.join(" ");
  },

  /** Tries to open the file as a source. */
  async trySource(path) {
    await ready();
    return await codeOf(() => openSource(path!, { busyTimeout: 50 }).close());
  },

  /** Adds users. */
  async add(path, prefix, count) {
    await using store = openSqlite(path!, { busyTimeout: 60_000 });
    await ready();
    for (let i = 0; i < Number(count); i++) await store.addUser(person(`${prefix} ${i}`));
    return "added";
  },

  /** Claims one token for many keys; prints how many won. */
  async claim(path, token, prefix) {
    await using store = openSqlite(path!);
    await ready();
    const claims = Array.from(
      { length: 32 },
      (_, i) => codeOf(() => store.consumeInvite(token!, person(`${prefix} ${i}`))),
    );
    const codes = await Promise.all(claims);
    return JSON.stringify(
      [...new Set(codes)].map((it) => [it, codes.filter((c) => c === it).length]),
    );
  },

  /** Revokes a user. */
  async revoke(path, signPub) {
    await using store = openSqlite(path!);
    await ready();
    return await codeOf(() => store.revokeUser(signPub!));
  },

  /** Adds rooms until it fails; prints the code, and whether the store then holds exactly those. */
  async fill(path) {
    await using store = openSqlite(path!);
    await ready();
    let added = 0;
    let code = "done";
    for (; code === "done" && added < 100_000; added++) {
      const { signPub, kexPub } = person(added);
      const sealedKey = new Uint8Array(4096);
      code = await codeOf(() =>
        store.createRoom({
          id: `room-${String(added).padStart(6, "0")}`,
          subject: "unibus.fill",
          owner: { endpoint: signPub, kexPub },
          sealedKeys: [{ endpoint: signPub, sealedKey }],
        })
      );
    }
    const rooms = (await store.listRooms({ limit: 10_000 })).items.length;
    return JSON.stringify({ code, whole: rooms === added - 1 });
  },

  /** Backs a file up. */
  async backup(path, to) {
    using source = openSource(path!);
    await ready();
    return await codeOf(() => source.backupTo(to!));
  },
};

const [task, ...args] = process.argv.slice(2);
console.log(await TASKS[task!]!(...args));
process.exit(0);
