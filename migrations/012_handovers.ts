import type { Migration } from "./mod.ts";

/** The last hand-overs of a room, as JSON. */
export const migration: Migration = {
  version: 12,
  name: "handovers",
  // A follower of an older program kept the values of such rooms. The key of a room whose id is no plain
  // token cannot be decoded here; no two rooms have the same subject and time.
  sql: `
ALTER TABLE rooms ADD COLUMN handovers TEXT CHECK (handovers IS NULL OR json_valid(handovers));

UPDATE rooms SET handovers = kept.value -> 'handovers' FROM (
  SELECT key, CAST(value AS TEXT) AS value FROM follower_entries
  WHERE key >= 'rooms.' AND key < 'rooms/' AND value IS NOT NULL
) AS kept
WHERE kept.value -> 'handovers' IS NOT NULL AND (kept.key = 'rooms.' || id
  OR kept.key LIKE 'rooms.=%' AND kept.value ->> 'subject' = subject
    AND kept.value ->> 'createdAt' = created_at);
`,
};
