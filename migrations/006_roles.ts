import type { Migration } from "./mod.ts";

/**
 * What a file is: a primary, a follower of a bucket, or one whose control plane moved; and the tables
 * beside the records by which a follower knows where in the bucket's stream it stands.
 */
export const migration: Migration = {
  version: 6,
  name: "roles",
  sql: `
-- One row. "place" is JSON: the bucket that is followed or that the control plane moved to.
CREATE TABLE file_role (
  one        INTEGER PRIMARY KEY CHECK (one = 1),
  role       TEXT NOT NULL CHECK (role IN ('primary', 'follower', 'moved')),
  generation INTEGER NOT NULL DEFAULT 0,
  journey    TEXT,
  place      TEXT
) STRICT;

INSERT INTO file_role (one, role, place)
  SELECT 1, iif(count(*) = 0, 'primary', 'moved'), max(value) FROM meta WHERE key = 'moved';
DELETE FROM meta WHERE key = 'moved';

-- One row in a follower. "created" is the stream's; "exact" says whether the file holds the latest
-- message up to "position" of every key; "digest" is the sum of the hashes of follower_entries.
CREATE TABLE follower (
  one        INTEGER PRIMARY KEY CHECK (one = 1),
  bucket     TEXT NOT NULL,
  created    TEXT NOT NULL,
  position   INTEGER NOT NULL,
  exact      INTEGER NOT NULL CHECK (exact IN (0, 1)),
  digest     TEXT NOT NULL CHECK (length(digest) = 32),
  entries    INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  alarm      TEXT
) STRICT;

-- Every live key of the bucket that holds data. "value" is NULL where the record is stored as this
-- program writes it.
CREATE TABLE follower_entries (
  key      TEXT NOT NULL PRIMARY KEY,
  revision INTEGER NOT NULL,
  hash     BLOB NOT NULL,
  value    BLOB
) STRICT, WITHOUT ROWID;

CREATE INDEX follower_entries_by_revision ON follower_entries (revision);

-- Delete markers, with the time in milliseconds at which the server removes them, and keys of meta.
CREATE TABLE follower_others (
  key      TEXT NOT NULL PRIMARY KEY,
  revision INTEGER NOT NULL,
  expires  INTEGER
) STRICT, WITHOUT ROWID;

-- Rooms in the middle of a large change: readers see nothing of them, or with 'rekey' no new keys.
CREATE TABLE follower_pending (
  room_id TEXT NOT NULL PRIMARY KEY,
  op      TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Live keys whose value is not a valid record. It is in no other table.
CREATE TABLE follower_quarantine (
  key      TEXT NOT NULL PRIMARY KEY,
  revision INTEGER NOT NULL,
  value    BLOB NOT NULL,
  problem  TEXT NOT NULL
) STRICT, WITHOUT ROWID;
`,
};
