import type { Migration } from "./mod.ts";

/** The allowlist. */
export const migration: Migration = {
  version: 2,
  name: "users",
  sql: `
CREATE TABLE users (
  sign_pub   TEXT NOT NULL PRIMARY KEY CHECK (length(sign_pub) = 64),
  kex_pub    TEXT NOT NULL CHECK (length(kex_pub) = 64),
  handle     TEXT NOT NULL,
  role       TEXT NOT NULL CHECK (role IN ('admin', 'user')),
  status     TEXT NOT NULL CHECK (status IN ('active', 'revoked')),
  created_at TEXT NOT NULL,
  revoked_at TEXT CHECK ((status = 'revoked') = (revoked_at IS NOT NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX active_admins ON users (sign_pub) WHERE role = 'admin' AND status = 'active';
`,
};
