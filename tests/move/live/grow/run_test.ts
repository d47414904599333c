/**
 * How often others may write to the bucket of a live move before it ends, and which writes count.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Bucket } from "../../../../src/jetstream/log/bucket.ts";
import { OwnWrites } from "../../../../src/move/live/foreign.ts";
import { Run } from "../../../../src/move/live/run.ts";
import { failsWith } from "../../../helpers/sqlite.ts";

/** A bucket with these keys, by their revisions. */
function holding(keys: Record<number, string>): Bucket {
  const revisions = Object.keys(keys).map(Number);
  const next = (_: string, from: number) => {
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

function holdingOf(keys: Record<number, string>, own: OwnWrites): Promise<string | null> {
  return own.foreign(holding(keys), Date.now() + 1000);
}
