import type { Migration } from "./mod.ts";

/** Whether a member has accepted its membership; those of before count as accepted. */
export const migration: Migration = {
  version: 4,
  name: "accepted",
  // Offers are few and are counted before another is made.
  sql: `
ALTER TABLE members ADD COLUMN accepted INTEGER NOT NULL DEFAULT 1
  CHECK (accepted IN (0, 1) AND (accepted = 1 OR role = 'member'));

CREATE INDEX offers ON members (endpoint, room_id) WHERE accepted = 0;
`,
};
