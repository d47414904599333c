/**
 * How often others may write to the bucket of a live move before it ends, and which writes count.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Bucket } from "../../../../src/jetstream/log/bucket.ts";
import { OwnWrites } from "../../../../src/move/live/foreign.ts";
import { Run } from "../../../../src/move/live/run.ts";
import { failsWith, person } from "../../../helpers/sqlite.ts";

/** A bucket with these keys, by their revisions; notes in `asked` from where on it was read. */
function holding(keys: Record<number, string>, asked: number[] = []): Bucket {
  const revisions = Object.keys(keys).map(Number);
  const next = (_: string, from: number) => {
    asked.push(from);
    const revision = revisions.find((it) => it >= from);
    return Promise.resolve(revision === undefined ? null : { key: keys[revision]!, revision });
  };
  return { name: "UNIBUS", next } as unknown as Bucket;
}

Deno.test("a live move ends when others write to its bucket 20 times, each within a minute of the last", async () => {
  const foreign = { bucket: holding({ 5: "users.x" }), claim: { revision: 1 }, admins: [] };
  const run = new Run(foreign as unknown as ConstructorParameters<typeof Run>[0], {} as never);
  const { now } = Date;
  let at = now();
  const written = (after: number) => {
    at += after;
    return run.isForeign();
  };
  Date.now = () => at;
  try {
    for (let i = 0; i < 19; i++) assert.equal(await written(59_999), true);
    assert.match(run.reason!, /users\.x was written to the bucket by another/);
    for (let i = 0; i < 19; i++) assert.equal(await written(i === 0 ? 60_000 : 59_999), true);
    await failsWith("conflict", () => written(59_999), /20 comparisons/);
  } finally {
    Date.now = now;
  }
});

Deno.test("messages of the run, of an index, and what was compared are not those of others", async () => {
  const keys: Record<number, string> = { 3: "users.a", 4: "admins.a" };
  const bucket = holding(keys);
  const own = new OwnWrites(2);
  const foreign = () => own.foreign(bucket, Date.now() + 1000);
  assert.equal(await foreign(), "users.a");
  own.compared(3);
  assert.equal(await foreign(), null);
  own.compared(1);
  assert.equal(await foreign(), null);
  // A batch of three, the first message of which a later one has replaced.
  Object.assign(keys, { 6: "users.b", 7: "users.c" });
  own.add(7, 3);
  assert.equal(await holdingOf(keys, own), null);
  Object.assign(keys, { 8: "users.d", 9: "users.e" });
  own.add(9, 1);
  assert.equal(await holdingOf(keys, own), "users.d");
  // The one after it is compared alone.
  own.compared(8);
  assert.equal(await holdingOf(keys, own), null);
  Object.assign(keys, { 10: "users.f" });
  assert.equal(await holdingOf(keys, own), "users.f");
});

Deno.test("of the messages of a run none is read that is known, and none twice", async () => {
  const keys: Record<number, string> = {
    3: "users.a",
    5: "users.b",
    7: "meta.fence",
    8: "users.c",
  };
  const asked: number[] = [];
  const own = new OwnWrites(2);
  const foreign = () => own.foreign(holding(keys, asked), Date.now() + 1000);
  own.add(5, 3);
  own.add(8, 1);
  assert.equal(await foreign(), null);
  // Over its own ones, then over the fence.
  assert.deepEqual(asked.splice(0), [6, 9]);
  // With a gap before them and another one after them.
  own.add(11, 2);
  Object.assign(keys, { 12: "users.d", 14: "users.e" });
  assert.equal(await foreign(), "users.d");
  own.compared(13);
  asked.length = 0;
  assert.equal(await foreign(), "users.e");
  assert.deepEqual(asked, [14]);
});

Deno.test("what a switch copies last is read back", async () => {
  const { signPub } = person("ada");
  let stored = "";
  const bucket = {
    ...holding({}),
    commit: (writes: { key: string; value: string | null }[]) => {
      stored = writes.find(({ key }) => key.startsWith("invites."))?.value ?? "";
      return Promise.resolve(9);
    },
    get: () => Promise.resolve({ data: new TextEncoder().encode(stored.slice(cut)) }),
  };
  let cut = 0;
  const record = {
    ...{ id: "1".repeat(64), createdBy: signPub, role: "user", note: "", usedAt: null },
    ...{ createdAt: "2026-01-02T03:04:05.006Z", expiresAt: "2026-01-09T03:04:05.006Z" },
    ...{ usedBy: null, canceledAt: null },
  };
  const file = {
    notes: () => [{ seq: 1, kind: "invites", key: [record.id, 0, ""] }],
    get: () => ({ kind: "invites", record }),
  };
  const parts = { bucket, file, claim: { revision: 8 }, admins: [], history: null };
  const run = new Run(parts as unknown as ConstructorParameters<typeof Run>[0], {} as never);
  const last = () => run.last(Date.now() + 60_000);
  await last();
  cut = 1;
  await failsWith("mismatch", last, /invites\.1+ was not stored as written/);
});

function holdingOf(keys: Record<number, string>, own: OwnWrites): Promise<string | null> {
  return own.foreign(holding(keys), Date.now() + 1000);
}
