/**
 * Runs the statements of a search on one state of a file.
 *
 * @module
 */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Row } from "../rows.ts";
import type { Sql } from "./queries.ts";

/** A statement; the answer of one that `keeps` is kept until the file changes. */
export type Asked = Sql & { keeps?: boolean };
/** Runs statements; returns the rows of each. */
export type Reader = (all: Asked[]) => Row[][];

/** What both runtimes have, but not Deno's types. */
type Both = {
  function(name: string, options: object, call: (text: unknown) => string): void;
};

/**
 * Makes the reader of a connection. A part of the thread: uses nothing from outside of itself.
 *
 * @param isOthers Whether others write the file, not this connection, which is not told of its own writes
 */
export function reader(db: DatabaseSync, isOthers: boolean): Reader {
  const MOST = 100;
  (db as unknown as Both).function(
    "fold",
    { deterministic: true },
    (text) => String(text).normalize("NFKC").toLowerCase(),
  );
  const statements = new Map<string, StatementSync>();
  const kept = new Map<string, Row[]>();
  let version: unknown;

  const rows = ({ sql, values }: Sql): Row[] => {
    let statement = statements.get(sql);
    if (statement === undefined) {
      statement = db.prepare(sql);
      (statement as StatementSync & { setReturnArrays(on: boolean): void }).setReturnArrays(true);
      statements.set(sql, statement);
    }
    return statement.all(...values) as unknown as Row[];
  };
  const read = (asked: Asked): Row[] => {
    if (!isOthers || !asked.keeps) return rows(asked);
    const key = JSON.stringify([asked.sql, asked.values]);
    const found = kept.get(key) ?? rows(asked);
    if (kept.size < MOST) kept.set(key, found);
    return found;
  };
  return (all) => {
    db.prepare("BEGIN").run();
    try {
      // Reading anything fixes the state that the version is of.
      rows({ sql: "SELECT 1 FROM sqlite_schema LIMIT 1", values: [] });
      const [[now]] = rows({ sql: "PRAGMA data_version", values: [] }) as [Row];
      if (now !== version) kept.clear();
      version = now;
      return all.map(read);
    } finally {
      db.prepare("COMMIT").run();
    }
  };
}
