import type { Migration } from "./mod.ts";

/** Single-use invitations, by the SHA-256 of their token. */
export const migration: Migration = {
  version: 3,
  name: "invites",
  sql: `
CREATE TABLE invites (
  id          TEXT NOT NULL PRIMARY KEY CHECK (length(id) = 64),
  created_by  TEXT NOT NULL,
  role        TEXT NOT NULL CHECK (role IN ('admin', 'user')),
  note        TEXT NOT NULL,
  created_at  TEXT NOT NULL,
  expires_at  TEXT NOT NULL,
  used_at     TEXT,
  used_by     TEXT,
  canceled_at TEXT
) STRICT, WITHOUT ROWID;
`,
};
