import type { Migration } from "./mod.ts";

/** Indexes for lists of users and rooms that are sorted, filtered or counted. */
export const migration: Migration = {
  version: 7,
  name: "search",
  // With all that users are filtered by, so that a search reads no table. The primary key ends each.
  sql: `
CREATE INDEX users_by_handle ON users (handle COLLATE NOCASE, sign_pub, role, status);
CREATE INDEX users_by_created ON users (created_at, sign_pub, handle, role, status);
CREATE INDEX admins ON users (sign_pub) WHERE role = 'admin';
CREATE INDEX revoked_users ON users (sign_pub) WHERE status = 'revoked';
CREATE INDEX rooms_by_created ON rooms (created_at, id);
`,
};
