import type { Migration } from "./mod.ts";

/** A move of the control plane to a bucket while the file is in use. */
export const migration: Migration = {
  version: 9,
  name: "journey",
  sql: `
-- Set while the file's writers are frozen: milliseconds since 1970.
ALTER TABLE file_role ADD COLUMN frozen_at INTEGER;

-- One row while a move runs or is interrupted. "servers" is JSON; "attempt" says which run owns it; "file"
-- tells the file from a copy of it.
CREATE TABLE journey (
  one        INTEGER PRIMARY KEY CHECK (one = 1),
  id         TEXT NOT NULL CHECK (length(id) = 32),
  bucket     TEXT NOT NULL,
  servers    TEXT NOT NULL,
  attempt    INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  file       TEXT NOT NULL,
  started_at TEXT NOT NULL
) STRICT;

-- Keys of records that changed and are not copied yet, as "recordKey" has them. Triggers write it, which
-- exist only while a move runs.
CREATE TABLE journey_changes (
  seq   INTEGER PRIMARY KEY AUTOINCREMENT,
  kind  TEXT NOT NULL,
  text  TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  rest  TEXT NOT NULL,
  UNIQUE (kind, text, epoch, rest)
) STRICT;
`,
};
