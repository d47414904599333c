import type { Migration } from "./mod.ts";

/** What a bucket's key can hold, as in step 5. */
const room = (it: string) =>
  `${it} IS NULL OR length(CAST(${it} AS BLOB)) BETWEEN 1 AND 256 AND instr(${it}, char(0)) = 0 ` +
  `AND ${it} NOT GLOB '*[ *>]*' AND ${it} NOT GLOB '.*' AND ${it} NOT GLOB '*.' ` +
  `AND instr(${it}, '..') = 0`;

/** Fills a column of a follower from the values it kept, because an older program did not know the field. */
const fill = (table: string, key: string, column: string, field: string) => `
UPDATE ${table} SET ${column} = kept.room FROM (
  SELECT substr(key, ${table.length + 2}) AS id, CAST(value AS TEXT) ->> '${field}' AS room
  FROM follower_entries
  WHERE key >= '${table}.' AND key < '${table}/' AND value IS NOT NULL
) AS kept WHERE ${key} = kept.id AND kept.room IS NOT NULL;
`;

/** The room that an invite names, and that the user who used it waits for. */
export const migration: Migration = {
  version: 11,
  name: "invited",
  sql: `
ALTER TABLE invites ADD COLUMN room TEXT CHECK (${room("room")});
ALTER TABLE users ADD COLUMN invited_to TEXT CHECK (${room("invited_to")});
CREATE INDEX users_invited ON users (invited_to, sign_pub) WHERE invited_to IS NOT NULL;
` + fill("invites", "invites.id", "room", "room") +
    fill("users", "users.sign_pub", "invited_to", "invitedTo"),
};
