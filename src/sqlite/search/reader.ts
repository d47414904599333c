/**
 * Runs the statements of a search on one state of a file.
 *
 * @module
 */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Row } from "../rows.ts";
import type { fold } from "./names.ts";
import type { Asked, Sql } from "./sql.ts";

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
export function reader(db: DatabaseSync, isOthers: boolean, folding: typeof fold): Reader {
  const MOST = 100;
  (db as unknown as Both).function("fold", { deterministic: true }, folding);
  if (isOthers) {
    db.exec(
      "CREATE VIRTUAL TABLE temp.user_name_parts USING fts5vocab(main, user_names, instance)",
    );
  }
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
  const hasNames = {
    sql: "SELECT 1 FROM sqlite_schema WHERE name = 'user_names_state'",
    values: [],
  };
  const found = (asked: Asked): Row[] => {
    const { few } = asked;
    const isFew = isOthers && few && rows(hasNames).length > 0 && rows(few.isFew)[0]![0] === 1;
    return rows(isFew ? few : asked);
  };
  const read = (asked: Asked): Row[] => {
    if (!isOthers || !asked.keeps) return found(asked);
    const key = JSON.stringify([asked.sql, asked.values]);
    const answer = kept.get(key) ?? found(asked);
    if (kept.size < MOST) kept.set(key, answer);
    return answer;
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
