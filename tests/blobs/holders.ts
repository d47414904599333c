/**
 * Who put a blob, what that counts for, and who may delete it: promises of every store of blobs.
 *
 * @module
 */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { type BlobStore, copyBlobs } from "../../src/blobs/mod.ts";
import { failsWith } from "../helpers/sqlite.ts";
import { type BlobBed, bodyOf, bytesOf, chunks, idOf } from "./kit.ts";

const KB = 1024;

/** Somebody's signing key. */
export function owner(): string {
  return randomBytes(32).toString("hex");
}

/** Puts bytes as somebody. */
export function putBy(blobs: BlobStore, bytes: Uint8Array, by: string, quota?: number) {
  const holders = { owners: [by], unowned: false };
  return blobs.put(chunks(bytes), {
    maxBytes: 1e7,
    holders,
    ...(quota === undefined ? {} : { quota }),
  });
}

/** Registers the tests; `make` gives each its own store. */
export function testHolders(name: string, make: () => Promise<BlobBed>): void {
  const test = (promise: string, run: (blobs: BlobStore, bed: BlobBed) => Promise<void>) =>
    Deno.test(`${name}: ${promise}`, async () => {
      await using bed = await make();
      await using blobs = await bed.open();
      await run(blobs, bed);
    });
  const [a, b] = [owner(), owner()].sort() as [string, string];

  test(
    "who put a blob is kept beside it, also when several put the same bytes",
    async (blobs, bed) => {
      const bytes = bytesOf(300 * KB);
      const id = idOf(bytes);
      assert.equal(await blobs.holders(id), null);
      assert.equal((await putBy(blobs, bytes, b)).created, true);
      assert.equal((await putBy(blobs, bytes, a)).created, false);
      assert.equal((await putBy(blobs, bytes, a)).created, false);
      assert.deepEqual(await blobs.holders(id), { owners: [a, b], unowned: false });
      await using other = await bed.open();
      assert.deepEqual(await other.holders(id), { owners: [a, b], unowned: false });
      assert.deepEqual([await other.usage(a), await other.usage(b)], [300 * KB, 300 * KB]);
      await blobs.put(chunks(bytes), { maxBytes: 1e7 });
      assert.deepEqual(await blobs.holders(id), { owners: [a, b], unowned: true });
      assert.equal(idOf(await bodyOf(await blobs.get(id))), id);
      assert.equal(await bed.leftovers(), 0);
    },
  );

  test("a blob that is put for nobody is kept for somebody unnamed", async (blobs) => {
    const bytes = bytesOf(300 * KB);
    const holders = { owners: [], unowned: false };
    const { id } = await blobs.put(chunks(bytes), { maxBytes: 1e7, holders });
    assert.deepEqual(await blobs.holders(id), { owners: [], unowned: true });
    assert.equal(idOf(await bodyOf(await blobs.get(id))), id);
    await failsWith("forbidden", () => blobs.delete(id, a));
  });

  test("a blob goes when the last of its owners deletes it", async (blobs, bed) => {
    const bytes = bytesOf(300 * KB);
    const { id } = await putBy(blobs, bytes, a);
    await putBy(blobs, bytes, b);
    await failsWith("forbidden", () => blobs.delete(id, owner()));
    assert.equal(await blobs.delete(id, a), false);
    assert.deepEqual(await blobs.holders(id), { owners: [b], unowned: false });
    assert.equal(idOf(await bodyOf(await blobs.get(id))), id);
    await failsWith("forbidden", () => blobs.delete(id, a));
    assert.equal(await blobs.usage(a), 0);
    assert.equal(await blobs.delete(id, b), true);
    for (const it of [blobs, await bed.open()]) {
      assert.equal(await it.stat(id), null);
      assert.equal(await it.get(id), null);
      assert.equal(await it.holders(id), null);
      assert.equal(await it.usage(b), 0);
      await failsWith("not_found", () => it.delete(id, b));
      await failsWith("not_found", () => it.delete(id));
      for await (const found of it.list()) assert.fail(found.id);
    }
    assert.equal(await bed.leftovers(), 0);
    assert.equal((await putBy(blobs, bytes, b)).created, true);
    assert.deepEqual(await blobs.holders(id), { owners: [b], unowned: false });
  });

  test("an admin deletes a blob whoever put it", async (blobs, bed) => {
    const bytes = bytesOf(10);
    const { id } = await putBy(blobs, bytes, a);
    await putBy(blobs, bytes, b);
    assert.equal(await blobs.delete(id), true);
    assert.equal(await blobs.stat(id), null);
    assert.deepEqual([await blobs.usage(a), await blobs.usage(b)], [0, 0]);
    const nobodys = await blobs.put(chunks(bytes), { maxBytes: 10 });
    assert.deepEqual(await blobs.holders(id), { owners: [], unowned: true });
    await failsWith("forbidden", () => blobs.delete(nobodys.id, a));
    assert.equal(await blobs.delete(nobodys.id), true);
    assert.equal(await bed.leftovers(), 0);
  });

  test("a blob that somebody put without a name stays when its owners delete it", async (blobs) => {
    const bytes = bytesOf(10);
    const { id } = await blobs.put(chunks(bytes), { maxBytes: 10 });
    await putBy(blobs, bytes, a);
    assert.deepEqual(await blobs.holders(id), { owners: [a], unowned: true });
    assert.equal(await blobs.delete(id, a), false);
    assert.deepEqual(await blobs.holders(id), { owners: [], unowned: true });
    assert.equal(idOf(await bodyOf(await blobs.get(id))), id);
  });

  test("an owner keeps no more bytes than the quota, which names itself", async (blobs, bed) => {
    const quota = 100 * KB;
    const first = bytesOf(60 * KB);
    await putBy(blobs, first, a, quota);
    const second = bytesOf(41 * KB);
    const message = await failsWith("quota_exceeded", () => putBy(blobs, second, a, quota));
    assert.match(message, /102400 bytes of blobs.*61440.*maxBlobBytesPerUser/);
    assert.equal(await blobs.stat(idOf(second)), null);
    assert.equal(await blobs.holders(idOf(second)), null);
    assert.equal(await bed.leftovers(), 0);
    // What one has one may put again; another has a quota of its own; a blob exactly as large fits.
    assert.equal((await putBy(blobs, first, a, quota)).created, false);
    assert.equal((await putBy(blobs, second, b, quota)).created, true);
    await failsWith("quota_exceeded", () => putBy(blobs, second, a, quota));
    assert.deepEqual(await blobs.holders(idOf(second)), { owners: [b], unowned: false });
    await putBy(blobs, bytesOf(40 * KB), a, quota);
    assert.equal(await blobs.usage(a), quota);
    // A small one counts as 4 KiB.
    await failsWith("quota_exceeded", () => putBy(blobs, bytesOf(0), a, quota));
    await blobs.delete(idOf(first), a);
    await putBy(blobs, bytesOf(1), a, quota);
    assert.equal(await blobs.usage(a), 44 * KB);
  });

  test("of blobs put at once no more are kept than the quota allows", async (blobs) => {
    const all = await Promise.allSettled(
      Array.from({ length: 12 }, () => putBy(blobs, bytesOf(10 * KB), a, 35 * KB)),
    );
    assert.equal(all.filter((it) => it.status === "fulfilled").length, 3);
    assert.equal(await blobs.usage(a), 30 * KB);
  });

  test("sixteen owners who put the same bytes at once are all noted", async (blobs, bed) => {
    await using other = await bed.open();
    const bytes = bytesOf(200 * KB);
    const owners = Array.from({ length: 16 }, owner).sort();
    const made = await Promise.all(
      owners.map((by, i) => putBy(i % 2 ? blobs : other, bytes, by, 1e9)),
    );
    assert.equal(made.filter((it) => it.created).length, 1);
    assert.deepEqual(await blobs.holders(idOf(bytes)), { owners, unowned: false });
    for (const by of owners) assert.equal(await other.usage(by), 200 * KB);
    const gone = await Promise.all(
      owners.map((by, i) => (i % 2 ? blobs : other).delete(idOf(bytes), by)),
    );
    assert.ok(gone.filter(Boolean).length <= 1);
    assert.equal(await blobs.stat(idOf(bytes)), null);
    assert.equal(await bed.leftovers(), 0);
  });

  test("what is put while another owner deletes it is there", async (blobs, bed) => {
    await using other = await bed.open();
    for (let round = 0; round < 25; round++) {
      const bytes = bytesOf(5 * KB);
      const id = idOf(bytes);
      await putBy(blobs, bytes, a, 1e9);
      await Promise.all([other.delete(id, a), putBy(blobs, bytes, b, 1e9)]);
      assert.equal(idOf(await bodyOf(await blobs.get(id))), id, `round ${round}`);
      assert.ok((await other.holders(id))?.owners.includes(b), `round ${round}`);
      assert.equal(await blobs.delete(id, b), true, `round ${round}`);
    }
    assert.equal(await blobs.usage(b), 0);
    assert.equal(await bed.leftovers(), 0);
  });

  test("a copy has the owners of each blob, also of one that was there", async (blobs) => {
    await using bed = await make();
    await using target = await bed.open();
    const [mine, ours, nobodys] = [bytesOf(10), bytesOf(9000), bytesOf(30)];
    await putBy(blobs, mine, a);
    await putBy(blobs, ours, a);
    await putBy(blobs, ours, b);
    await blobs.put(chunks(nobodys), { maxBytes: 100 });
    await putBy(target, ours, b);
    assert.deepEqual(await copyBlobs(blobs, target), { count: 3, bytes: 9040, copied: 2 });
    for (const bytes of [mine, ours, nobodys]) {
      assert.deepEqual(await target.holders(idOf(bytes)), await blobs.holders(idOf(bytes)));
    }
    assert.deepEqual([await target.usage(a), await target.usage(b)], [4096 + 9000, 9000]);
    assert.equal((await copyBlobs(blobs, target)).copied, 0);
    assert.equal(await target.addHolders("0".repeat(64), { owners: [a], unowned: false }), false);
  });

  test("owners and quotas that are none are invalid", async (blobs) => {
    const { id } = await putBy(blobs, bytesOf(10), a);
    for (const bad of ["", "unowned", "../x", "A".repeat(64), a.slice(1), `${a}\n`]) {
      await failsWith("invalid", () => putBy(blobs, bytesOf(10), bad));
      await failsWith("invalid", () => blobs.delete(id, bad));
      await failsWith("invalid", () => blobs.usage(bad));
      await failsWith("invalid", () => blobs.addHolders(id, { owners: [bad], unowned: false }));
    }
    for (const bad of [NaN, -1]) {
      await failsWith("invalid", () => putBy(blobs, bytesOf(10), a, bad));
    }
    for (const bad of ["", "../x"]) {
      await failsWith("invalid", () => blobs.delete(bad));
      await failsWith("invalid", () => blobs.holders(bad));
    }
  });
}
