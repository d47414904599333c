import type { Migration } from "./mod.ts";

/** Rooms, their members and the sealed room keys. */
export const migration: Migration = {
  version: 1,
  name: "rooms",
  // Keys are short and rows are read in key order, so the rows live in the key's own tree. Text
  // compares as UTF-8 bytes (BINARY), which is the canonical order.
  sql: `
CREATE TABLE rooms (
  id         TEXT NOT NULL PRIMARY KEY CHECK (id <> ''),
  subject    TEXT NOT NULL,
  encrypted  INTEGER NOT NULL CHECK (encrypted IN (0, 1)),
  owner      TEXT NOT NULL CHECK (length(owner) = 64),
  epoch      INTEGER NOT NULL CHECK (epoch >= 1),
  created_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE members (
  room_id   TEXT NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
  endpoint  TEXT NOT NULL CHECK (length(endpoint) = 64),
  role      TEXT NOT NULL CHECK (role IN ('owner', 'member')),
  kex_pub   TEXT NOT NULL CHECK (length(kex_pub) = 64),
  joined_at TEXT NOT NULL,
  PRIMARY KEY (room_id, endpoint)
) STRICT, WITHOUT ROWID;

CREATE INDEX rooms_by_member ON members (endpoint, room_id);

-- Sealed keys of people who left stay, so they refer to the room and not to a member.
CREATE TABLE room_keys (
  room_id    TEXT NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
  epoch      INTEGER NOT NULL CHECK (epoch >= 1),
  endpoint   TEXT NOT NULL CHECK (length(endpoint) = 64),
  sealed_key BLOB NOT NULL CHECK (length(sealed_key) BETWEEN 1 AND 4096),
  created_at TEXT NOT NULL,
  PRIMARY KEY (room_id, epoch, endpoint)
) STRICT, WITHOUT ROWID;
`,
};
