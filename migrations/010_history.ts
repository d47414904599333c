import type { Migration } from "./mod.ts";

/** Who changed what, in the order of the changes. */
export const migration: Migration = {
  version: 10,
  name: "history",
  sql: `
-- One row for each change. "before" and "after" are JSON; "head" is the SHA-256 of the head of the row
-- before it and of this row. In a follower the numbers are those of the bucket's stream.
CREATE TABLE history (
  generation INTEGER NOT NULL,
  number     INTEGER NOT NULL,
  at         TEXT NOT NULL,
  by         TEXT NOT NULL,
  action     TEXT NOT NULL,
  user       TEXT,
  room       TEXT,
  invite     TEXT,
  before     TEXT,
  after      TEXT,
  head       BLOB NOT NULL CHECK (length(head) = 32),
  PRIMARY KEY (generation, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX history_by_user ON history (user, generation, number) WHERE user IS NOT NULL;
CREATE INDEX history_by_room ON history (room, generation, number) WHERE room IS NOT NULL;
CREATE INDEX history_by_invite ON history (invite, generation, number) WHERE invite IS NOT NULL;
CREATE INDEX history_by_author ON history (by, generation, number);

-- The last row that was pruned, with its head; without a row nothing was.
CREATE TABLE history_cut (
  one        INTEGER PRIMARY KEY CHECK (one = 1),
  generation INTEGER NOT NULL,
  number     INTEGER NOT NULL,
  head       BLOB NOT NULL CHECK (length(head) = 32)
) STRICT;

-- A follower keeps each entry of the last days here, in the transaction that brings its change, until it
-- stands in history: a file that is promoted lacks no entry of a change that it has.
CREATE TABLE follower_tail (
  number INTEGER PRIMARY KEY,
  value  BLOB NOT NULL
) STRICT;

CREATE INDEX follower_others_by_expiry ON follower_others (expires) WHERE expires IS NOT NULL;

-- The newest head that each node has signed.
CREATE TABLE history_heads (
  node      TEXT PRIMARY KEY,
  revision  TEXT,
  head      TEXT NOT NULL CHECK (length(head) = 64),
  at        TEXT NOT NULL,
  key       TEXT NOT NULL,
  signature TEXT NOT NULL
) STRICT, WITHOUT ROWID;
`,
};
