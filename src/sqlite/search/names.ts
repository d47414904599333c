/**
 * The index of the parts of users' names: brought up to date beside searches, in small transactions.
 *
 * @module
 */

import type { DatabaseSync } from "node:sqlite";

/** A text as names are compared. A part of the thread: uses nothing from outside of itself. */
export function fold(text: unknown): string {
  return String(text).normalize("NFKC").toLowerCase();
}

/** Brings the index of a file up to date. */
export interface Indexing {
  /** Begins, unless that is under way. */
  begin(): void;
  /** Ends. */
  close(): void;
}

/** What {@link indexing} uses. */
export interface IndexingParts {
  /** The file, for reading. */
  db: DatabaseSync;
  /** Opens it for writing. */
  open(): DatabaseSync;
  fold: typeof fold;
}

type Name = { sign_pub: string; handle: string };

/**
 * Makes what brings the index of a file up to date. Leaves half of the time to other writers. A part of
 * the thread: uses nothing from outside of itself.
 */
export function indexing({ db, open, fold }: IndexingParts): Indexing {
  /** So many users are read fast enough without an index. */
  const FEW = 1000;
  /** Changes that searches look at one by one. */
  const CHANGES = 500;
  /** Users of one transaction: it takes about 5 ms. */
  const PIECE = 500;
  /** Milliseconds until another try while somebody else writes. */
  const BUSY = 100;
  const ALL = "g";
  /** Open while there is work. */
  let writer: DatabaseSync | null = null;
  let timer: ReturnType<typeof setTimeout> | null = null;

  const all = (sql: string, ...values: (string | number)[]) =>
    writer!.prepare(sql).all(...values) as unknown as Name[];
  const prefix = (id: number) => id.toString(16).padStart(8, "0");
  const put = (names: Name[]) => {
    const texts = new Map<number, string>();
    for (const { sign_pub: key, handle } of names) {
      const id = parseInt(key.slice(0, 8), 16);
      // No key of a valid record, and one that no query finds.
      if (prefix(id) !== key.slice(0, 8)) continue;
      texts.set(id, `${texts.get(id) ?? ""}${fold(handle)}\n\n`);
    }
    const insert = writer!.prepare(
      "INSERT OR REPLACE INTO user_names (rowid, handle) VALUES (?, ?)",
    );
    for (const [id, text] of texts) insert.run(id, text);
  };
  /** Adds the next users. */
  const build = (upto: string) => {
    const names = all(
      "SELECT sign_pub, handle FROM users WHERE sign_pub >= ? ORDER BY sign_pub LIMIT ?",
      upto,
      PIECE,
    );
    const last = names.length < PIECE ? null : names.at(-1)!.sign_pub;
    const end = last === null ? ALL : `${last.slice(0, 8)}g`;
    // Users of the same row belong together.
    if (last !== null) {
      names.push(...all(
        "SELECT sign_pub, handle FROM users WHERE sign_pub > ? AND sign_pub < ? ORDER BY sign_pub",
        last,
        end,
      ));
    }
    put(names);
    writer!.prepare("UPDATE user_names_state SET upto = ?").run(end);
  };
  /** Brings rows up to date that changed. */
  const mend = () => {
    const changed = writer!.prepare("SELECT id FROM user_names_changed ORDER BY id LIMIT ?").all(
      PIECE,
    );
    const remove = writer!.prepare("DELETE FROM user_names WHERE rowid = ?");
    const forget = writer!.prepare("DELETE FROM user_names_changed WHERE id = ?");
    for (const { id } of changed as { id: number }[]) {
      const names = all(
        "SELECT sign_pub, handle FROM users WHERE sign_pub >= ? AND sign_pub < ? ORDER BY sign_pub",
        prefix(id),
        `${prefix(id)}g`,
      );
      if (names.length === 0) remove.run(id);
      else put(names);
      forget.run(id);
    }
  };
  const needed = (on: DatabaseSync) => {
    // What was begun is done.
    const changes = writer === null ? CHANGES : 0;
    const row = on.prepare(`SELECT upto, EXISTS (SELECT 1 FROM users LIMIT 1 OFFSET ${FEW}) AS many,
      EXISTS (SELECT 1 FROM user_names_changed LIMIT 1 OFFSET ${changes}) AS old
      FROM user_names_state`).get() as { upto: string; many: number; old: number };
    if (row.upto !== ALL) return row.many === 1 ? () => build(row.upto) : null;
    return row.old === 1 ? mend : null;
  };
  const end = () => {
    writer?.close();
    writer = null;
    return null;
  };
  /** Does a piece of the work; returns the pause until the next in milliseconds, `null` for none. */
  const step = (): number | null => {
    if (needed(db) === null) return end();
    const begun = performance.now();
    writer ??= open();
    try {
      // Deno's `exec` tells no codes.
      writer.prepare("BEGIN IMMEDIATE").run();
    } catch (error) {
      if ((error as { errcode?: number }).errcode === 5) return BUSY;
      throw error;
    }
    // Looked at again: another process may do the same.
    needed(writer)?.();
    writer.exec("COMMIT");
    return performance.now() - begun;
  };
  const turn = () => {
    timer = null;
    let pause: number | null;
    try {
      pause = step();
    } catch {
      // A full disk, or a schema of before: searches read all names, and the next one begins again.
      pause = end();
    }
    if (pause !== null) timer = setTimeout(turn, pause);
  };
  return {
    begin: () => void (timer ??= setTimeout(turn, 0)),
    close() {
      if (timer !== null) clearTimeout(timer);
      end();
    },
  };
}
