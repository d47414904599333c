/**
 * What the thread of a follower does: all reading and writing of its file, which may take long.
 *
 * @module
 */

import type { DatabaseSync, SQLInputValue } from "node:sqlite";
import type { keeping } from "../history/table.ts";
import type { loader, Loading } from "./loading.ts";
import type { answering, Port } from "../../sqlite/file/thread.ts";
import type { Change, Changes, Held, Work, WorkOptions } from "./messages.ts";
import type { reading } from "./reading.ts";
import type { Statements, statements } from "./statements.ts";

/** The other parts of the thread. */
export interface Parts {
  answering: typeof answering;
  keeping: typeof keeping;
  loader: typeof loader;
  reading: typeof reading;
  statements: typeof statements;
}

/**
 * Answers questions on a port. Runs as a thread from its own source text, so that a bundled or compiled
 * program needs no second file: it must use nothing from outside of itself but its parts.
 */
export function work(
  parts: Parts,
  { DatabaseSync: Database }: {
    DatabaseSync: new (path: string, options?: object) => DatabaseSync;
  },
  port: Port<Work>,
  { path, lock, marker, tables }: WorkOptions,
): void {
  const HASH = 16;
  const BUSY = 5;
  const db = new Database(path, { timeout: 5000, enableForeignKeyConstraints: false });
  db.exec(`PRAGMA busy_timeout = 5000; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -65536;
    PRAGMA wal_autocheckpoint = 8192; PRAGMA journal_size_limit = 16777216`);
  const history = parts.keeping(db);
  const reads = parts.reading(db);
  const loads = parts.loader(db, tables);
  let locked: DatabaseSync | null = null;
  let to: Statements | null = null;
  let loading: Loading | null = null;
  /** Set when applying failed: what follows must not be applied without what failed. */
  let broken = false;
  let digest = 0n;
  let entries = 0;
  /** Rows of follower_others, counted when they are first needed: a week of history may be millions. */
  let others: number | null = null;
  let quarantined = 0;
  let writtenAt = 0;

  const run = (sql: string) => db.prepare(sql).run();
  const count = (table: string) =>
    Number(db.prepare(`SELECT count(*) AS count FROM ${table}`).get()!.count);
  /** Notes something about the bucket, in the names of which `reading.ts` and `kept.ts` know. */
  const note = (name: string, value: SQLInputValue) => {
    const key = `follower_${name}`;
    if (value === null) db.prepare("DELETE FROM meta WHERE key = ?").run(key);
    else db.prepare("INSERT OR REPLACE INTO meta VALUES (?, ?)").run(key, value);
  };
  const number = (hash: Uint8Array) => {
    const view = new DataView(hash.buffer, hash.byteOffset, HASH);
    return (view.getBigUint64(0) << 64n) | view.getBigUint64(8);
  };

  const pragma = (sql: string) => Object.values(db.prepare(`PRAGMA ${sql}`).get()!)[0];
  /** Ends what a change of modes leaves open until the next access: a lock, a transaction. */
  const access = () => void db.prepare("SELECT role FROM file_role").all();
  /** Returns whether the journal is of this mode now; not while another connection has the file open. */
  const setJournal = (mode: string): boolean => {
    try {
      const found = pragma(`journal_mode = ${mode}`);
      access();
      return found === mode;
    } catch (error) {
      if (((error as { errcode?: number }).errcode ?? 0) % 256 === BUSY) return false;
      throw error;
    }
  };
  const isAlone = () => pragma("locking_mode") === "exclusive";
  /** Lets other connections in again. */
  const endAlone = () => {
    db.exec("PRAGMA locking_mode = NORMAL");
    access();
  };

  /** Takes up what is in the file. */
  const takeUp = (): Held | null => {
    const held = reads.held();
    digest = BigInt(`0x${held?.digest ?? "0"}`);
    entries = held?.entries ?? 0;
    quarantined = held?.quarantined ?? 0;
    return held;
  };

  const rollback = () => {
    if (db.isTransaction) run("ROLLBACK");
    loading = null;
    to = null;
    broken = false;
    others = null;
    writtenAt = 0;
    loads.clear();
    return takeUp();
  };

  const takeEntry = ({ key, revision, value, problem }: Change, hash: Uint8Array | null) => {
    const kept = problem === null ? value : null;
    if (loading !== null) {
      to!.putEntry.run(key, revision, hash, kept);
      return;
    }
    const old = to!.entry.get(key);
    if (old !== undefined) {
      digest -= number(old.hash as Uint8Array);
      entries--;
    }
    if (hash !== null) {
      to!.putEntry.run(key, revision, hash, kept);
      digest += number(hash);
      entries++;
    } else if (old !== undefined) to!.removeEntry.run(key);
  };

  const takeRecord = ({ key, revision, table, id, row, pending }: Change) => {
    // Rooms are the first table.
    if (pending !== null) to!.putPending.run(id[0]!, pending);
    else if (table === 0) to!.removePending.run(id[0]!);
    if (loading !== null) {
      const values = row ?? tables[table]![1].map(() => null);
      to!.put[table]!.run(key, revision, row === null ? 0 : 1, ...values);
    } else if (row !== null) to!.put[table]!.run(...row);
    else to!.remove[table]!.run(...id);
  };

  const takeOther = ({ key, revision, other, expires }: Change) => {
    const removed = Number(to!.removeOther.run(key).changes);
    if (other) to!.putOther.run(key, revision, expires);
    if (others !== null) others += (other ? 1 : 0) - removed;
  };

  const take = (change: Change, hash: Uint8Array | null) => {
    const { key, revision, value, problem } = change;
    writtenAt = change.writtenAt;
    takeOther(change);
    if (change.isHistory) {
      to!.putTail.run(revision, value);
      return;
    }
    takeEntry(change, hash);
    if (problem !== null) {
      to!.putBad.run(key, revision, value, problem);
      quarantined++;
    } else if (quarantined > 0) to!.removeBad.run(key);
    if (change.table >= 0) takeRecord(change);
    if (key === marker) note("marker", value === null ? null : new TextDecoder().decode(value));
  };

  const sum = () => {
    let all = 0n;
    for (const { hash } of db.prepare("SELECT hash FROM follower_entries").iterate()) {
      all += number(hash as Uint8Array);
    }
    return BigInt.asUintN(8 * HASH, all);
  };

  const endLoad = ({ source: { bucket, created }, settle }: Loading) => {
    to = null;
    settle();
    loading = null;
    digest = sum();
    entries = count("follower_entries");
    const zero = "0".repeat(2 * HASH);
    db.prepare("INSERT INTO follower VALUES (1, ?, ?, 0, 0, ?, 0, 0, NULL)")
      .run(bucket, created, zero);
  };

  const apply = ({ changes, hashes, end }: Changes): Held | null => {
    if (!db.isTransaction) run("BEGIN IMMEDIATE");
    to ??= parts.statements(db, tables, loading !== null);
    for (const [i, it] of changes.entries()) {
      take(it, it.live ? hashes.subarray(i * HASH, (i + 1) * HASH) : null);
    }
    if (end === null) return null;
    if (loading !== null) endLoad(loading);
    digest = BigInt.asUintN(8 * HASH, digest);
    const text = digest.toString(16).padStart(2 * HASH, "0");
    db.prepare(
      "UPDATE follower SET position = ?, exact = ?, digest = ?, entries = ?, updated_at = ?",
    )
      .run(end.position, end.exact ? 1 : 0, text, entries, Date.now());
    if (writtenAt > 0) note("written_at", String(writtenAt));
    run("COMMIT");
    return takeUp();
  };

  parts.answering<Work>(port, {
    lock: () => {
      if (locked !== null) return true;
      const candidate = new Database(lock, { timeout: 0 });
      try {
        candidate.exec("BEGIN EXCLUSIVE");
      } catch {
        candidate.close();
        return false;
      }
      locked = candidate;
      // Promoted meanwhile: it is nobody's follower.
      const { role } = db.prepare("SELECT role FROM file_role").get()!;
      if (role === "follower") return true;
      locked.close();
      throw new Error(`the file is a ${role} now`);
    },
    held: () => reads.held(),
    load: (source) => {
      rollback();
      loading = loads.begin(source);
      note("marker", null);
      digest = 0n;
      entries = 0;
      quarantined = 0;
    },
    apply: (changes) => {
      if (broken) throw new Error("what came before could not be applied");
      broken = true;
      const held = apply(changes);
      broken = false;
      return held;
    },
    rollback,
    adopt: (created) => void db.prepare("UPDATE follower SET created = ?").run(created),
    expected: ({ at, margin, wereRemoved }) => {
      others ??= count("follower_others");
      if (wereRemoved) {
        others -= Number(
          db.prepare("DELETE FROM follower_others WHERE expires < ?").run(at - 60 * margin).changes,
        );
      }
      const { expiring, expired } = reads.expiring(at - margin, at + margin);
      return { certain: entries + others - expiring - expired, expiring, expired };
    },
    newest: (limit) => reads.newest(limit),
    history: () => history.state(),
    historyEnd: () => history.last(),
    tail: (after) => history.tail(after),
    addHistory: (more) => history.add(more),
    isSummed: () => sum() === BigInt.asUintN(8 * HASH, digest),
    compare: (sample) => reads.compare(sample),
    keys: ({ prefix, after }) => ({ held: reads.held(), keys: reads.keys(prefix, after) }),
    count: ({ prefix, since }) => reads.count(prefix, since),
    alarm: (text) => {
      if (locked === null) return false;
      rollback();
      db.prepare("UPDATE follower SET alarm = ?").run(text);
      return true;
    },
    note: ({ key, value }) => {
      if (locked === null || db.isTransaction) throw new Error("the file is being written");
      // With what was committed before, on the disk.
      db.exec("PRAGMA synchronous = FULL");
      if (value === null) db.prepare("DELETE FROM meta WHERE key = ?").run(key);
      else db.prepare("INSERT OR REPLACE INTO meta VALUES (?, ?)").run(key, value);
      db.exec("PRAGMA synchronous = NORMAL");
    },
    checkpoint: () => {
      if (!db.isTransaction) db.exec("PRAGMA wal_checkpoint(PASSIVE)");
    },
    holdAlone: () => {
      if (db.isTransaction) return false;
      // A switch does not wait for others.
      db.exec("PRAGMA busy_timeout = 0; PRAGMA locking_mode = EXCLUSIVE");
      // Only the last connection to a file can end its log. A kill leaves no journal that is in memory.
      if (setJournal("memory")) setJournal("wal");
      else endAlone();
      db.exec("PRAGMA busy_timeout = 5000");
      return isAlone();
    },
    share: () => {
      if (!isAlone()) return true;
      if (db.isTransaction) return false;
      // The lock is kept for as long as there is a log.
      setJournal("memory");
      endAlone();
      setJournal("wal");
      return true;
    },
    close: () => {
      // What is in an open transaction goes with it.
      db.close();
      locked?.close();
    },
  });
}
