/**
 * What every store of blobs promises, as tests.
 *
 * @module
 */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import type { BlobStore } from "../../src/blobs/mod.ts";
import { isStoreError } from "../../src/core/errors.ts";
import { failsWith } from "../helpers/sqlite.ts";
import { type BlobBed, bodyOf, bytesOf, chunks, idOf, spawn, until } from "./kit.ts";

const MB = 1024 * 1024;
/** Larger than what is read whole before it is handed out, and no multiple of a block. */
const LARGE = 3 * MB + 17;

/** Registers the tests; `make` gives each its own store. */
export function testPromises(name: string, make: () => Promise<BlobBed>): void {
  const test = (promise: string, run: (blobs: BlobStore, bed: BlobBed) => Promise<void>) =>
    Deno.test(`${name}: ${promise}`, async () => {
      await using bed = await make();
      await using blobs = await bed.open();
      await run(blobs, bed);
    });

  test("bytes come back as they went in, under their SHA-256, whatever their size", async (blobs) => {
    const sizes = [0, 1, 131_071, 131_072, 131_073, 262_144, 262_145, MB, MB + 1, LARGE];
    for (const size of sizes) {
      const bytes = bytesOf(size);
      const id = createHash("sha256").update(bytes).digest("hex");
      const stored = await blobs.put(chunks(bytes, 70_001), { maxBytes: size });
      assert.deepEqual(stored, { id, size, created: true });
      assert.deepEqual(await blobs.stat(id), { id, size });
      const opened = await blobs.get(id);
      assert.equal(opened?.size, size);
      assert.equal(idOf(await bodyOf(opened)), id);
    }
  });

  test("what is not there is null", async (blobs) => {
    assert.equal(await blobs.stat("0".repeat(64)), null);
    assert.equal(await blobs.get("0".repeat(64)), null);
    assert.equal(await blobs.get("0".repeat(64), { start: 0, end: 1 }), null);
  });

  test("an id that is not a SHA-256 is refused before anything is looked for", async (blobs) => {
    const ids = ["", "../../../etc/passwd", "0".repeat(63), "0".repeat(65), "A".repeat(64)];
    ids.push(`${"0".repeat(61)}/..`, `${"0".repeat(63)}\n`, "0".repeat(62) + "..", "*");
    for (const id of [...ids, undefined, 7] as string[]) {
      await failsWith("invalid", () => blobs.stat(id));
      await failsWith("invalid", () => blobs.get(id));
    }
  });

  test("the same bytes twice are stored once", async (blobs, bed) => {
    const bytes = bytesOf(LARGE);
    assert.equal((await blobs.put(chunks(bytes), { maxBytes: LARGE })).created, true);
    assert.equal((await blobs.put(chunks(bytes, 1000), { maxBytes: LARGE })).created, false);
    await using other = await bed.open();
    assert.equal((await other.put(chunks(bytes), { maxBytes: LARGE })).created, false);
    assert.equal(await bed.leftovers(), 0);
  });

  test("of sixteen that store the same bytes at once, one makes the blob", async (blobs, bed) => {
    await using other = await bed.open();
    const bytes = bytesOf(MB);
    const results = await Promise.all(
      Array.from({ length: 16 }, (_, i) => {
        return (i % 2 ? blobs : other).put(chunks(bytes, 10_000 + i), { maxBytes: MB });
      }),
    );
    assert.equal(results.filter((it) => it.created).length, 1);
    assert.equal(await bed.leftovers(), 0);
    assert.equal(idOf(await bodyOf(await blobs.get(idOf(bytes)))), idOf(bytes));
  });

  test("of two processes that store the same bytes at once, one makes the blob", async (_, bed) => {
    const size = 5 * MB;
    const children = [1, 2].map(() => spawn(bed, "put", "the same bytes ", String(size)));
    for (const { lines } of children) assert.equal((await lines.next()).value, "ready");
    const results = await Promise.all(children.map(async ({ child, lines }) => {
      const writer = child.stdin.getWriter();
      await writer.write(new TextEncoder().encode("go\n"));
      await writer.close();
      const { value } = await lines.next();
      await child.status;
      return JSON.parse(value!);
    }));
    assert.deepEqual(results.map((it) => it.created).sort(), [false, true]);
    assert.equal(results[0].id, results[1].id);
    assert.equal(await bed.leftovers(), 0);
  });

  test("exactly maxBytes are stored; one byte more is too_large", async (blobs, bed) => {
    const bytes = bytesOf(LARGE);
    let ended = false;
    async function* endless() {
      try {
        for (;;) yield* chunks(bytes);
      } finally {
        ended = true;
      }
    }
    const message = await failsWith(
      "too_large",
      () => blobs.put(endless(), { maxBytes: LARGE + 5 }),
    );
    assert.match(message, new RegExp(String(LARGE + 5)));
    await until("the source is told to end", () => ended);
    await failsWith("too_large", () => blobs.put(chunks(bytes), { maxBytes: LARGE - 1 }));
    await failsWith("too_large", () => blobs.put(chunks(bytes), { maxBytes: 0 }));
    assert.equal(await blobs.stat(idOf(bytes)), null);
    assert.equal(await bed.leftovers(), 0);
    assert.equal((await blobs.put(chunks(bytes), { maxBytes: LARGE })).size, LARGE);
    for (const maxBytes of [-1, 1.5, NaN, Infinity]) {
      await failsWith("invalid", () => blobs.put(chunks(bytes), { maxBytes }));
    }
  });

  test("bytes that are not the expected ones are not stored", async (blobs, bed) => {
    const bytes = bytesOf(LARGE);
    const wrong = "1".repeat(64);
    const error = await blobs.put(chunks(bytes), { maxBytes: LARGE, expected: wrong })
      .catch((it) => it);
    assert.ok(isStoreError(error, "invalid"), String(error));
    assert.equal(error.field, "content-digest");
    assert.equal(await blobs.stat(idOf(bytes)), null);
    assert.equal(await blobs.stat(wrong), null);
    assert.equal(await bed.leftovers(), 0);
    const expected = idOf(bytes).toUpperCase();
    assert.equal((await blobs.put(chunks(bytes), { maxBytes: LARGE, expected })).created, true);
    await failsWith("invalid", () => blobs.put(chunks(bytes), { maxBytes: LARGE, expected: "x" }));
  });

  test("a signal ends a put whose source hangs, and nothing is stored", async (blobs, bed) => {
    const bytes = bytesOf(LARGE);
    const controller = new AbortController();
    let hanging = false;
    async function* source() {
      yield* chunks(bytes);
      hanging = true;
      await new Promise(() => {});
    }
    const put = blobs.put(source(), { maxBytes: LARGE, signal: controller.signal });
    put.catch(() => {});
    await until("the source hangs", () => hanging);
    controller.abort(new Error("enough"));
    await failsWith("aborted", () => put);
    assert.equal(await blobs.stat(idOf(bytes)), null);
    assert.equal(await bed.leftovers(), 0);
    const { signal } = controller;
    await failsWith("aborted", () => blobs.put(chunks(bytes), { maxBytes: LARGE, signal }));
  });

  test("an error of the source is passed on, and nothing is stored", async (blobs, bed) => {
    const bytes = bytesOf(LARGE);
    const broken = Object.assign(new Error("the line broke"), { code: "ECONNRESET" });
    async function* source() {
      yield* chunks(bytes);
      throw broken;
    }
    await assert.rejects(blobs.put(source(), { maxBytes: LARGE }), (error) => error === broken);
    assert.equal(await blobs.stat(idOf(bytes)), null);
    assert.equal(await bed.leftovers(), 0);
  });

  test("a source may use its buffer again", async (blobs) => {
    const hash = createHash("sha256");
    async function* source() {
      const buffer = new Uint8Array(100_000);
      for (let i = 0; i < 20; i++) {
        await Promise.resolve();
        buffer.fill(i);
        hash.update(buffer);
        yield buffer;
      }
    }
    const { id } = await blobs.put(source(), { maxBytes: 2 * MB });
    assert.equal(id, hash.digest("hex"));
    assert.equal(idOf(await bodyOf(await blobs.get(id))), id);
  });

  test("a range has the bytes asked for, and no others are a range", async (blobs) => {
    for (const size of [1, 100_000, LARGE]) {
      const bytes = bytesOf(size);
      const { id } = await blobs.put(chunks(bytes), { maxBytes: size });
      const last = size - 1;
      const middle = Math.floor(size / 2);
      const ranges = [[0, 0], [last, last], [0, last], [middle, last], [0, size + 10], [
        middle,
        Number.MAX_SAFE_INTEGER,
      ]];
      if (size === LARGE) ranges.push([262_143, 262_144], [131_071, 524_289], [MB, MB + 131_072]);
      for (const [start, end] of ranges as [number, number][]) {
        const opened = await blobs.get(id, { start, end });
        assert.equal(opened?.size, size);
        const found = await bodyOf(opened);
        assert.deepEqual(found, new Uint8Array(bytes.subarray(start, end + 1)), `${start}-${end}`);
      }
      for (const [start, end] of [[size, size], [1, 0], [-1, 0], [0, NaN], [0.5, 1]]) {
        const error = await blobs.get(id, { start: start!, end: end! }).catch((it) => it);
        assert.ok(isStoreError(error, "invalid"), `${start}-${end}: ${error}`);
        assert.equal(error.field, "range");
      }
    }
    const { id } = await blobs.put(chunks(bytesOf(0)), { maxBytes: 0 });
    await failsWith("invalid", () => blobs.get(id, { start: 0, end: 0 }));
  });

  for (const size of [1000, LARGE]) {
    for (const how of ["flip", "truncate"] as const) {
      test(
        `${size} bytes damaged by a ${how} are never handed out whole, and can be mended`,
        async (blobs, bed) => {
          const bytes = bytesOf(size);
          const { id } = await blobs.put(chunks(bytes), { maxBytes: size });
          await bed[how](id);
          const whole = async () => {
            let read = 0;
            for await (const part of (await blobs.get(id))!.body) read += part.length;
            return read;
          };
          await failsWith("corrupt", whole, new RegExp(id));
          const range = async () => await bodyOf(await blobs.get(id, { start: 0, end: 9 }));
          await failsWith("corrupt", range);
          assert.equal((await blobs.put(chunks(bytes), { maxBytes: size })).created, true);
          assert.equal(idOf(await bodyOf(await blobs.get(id))), id);
          assert.deepEqual(await range(), new Uint8Array(bytes.subarray(0, 10)));
          assert.equal(await bed.leftovers(), 0);
        },
      );
    }
  }

  test("damage is also found in a part of what was whole before", async (blobs, bed) => {
    const bytes = bytesOf(LARGE);
    const { id } = await blobs.put(chunks(bytes), { maxBytes: LARGE });
    const range = async () => await bodyOf(await blobs.get(id, { start: 5, end: LARGE }));
    assert.deepEqual(await range(), new Uint8Array(bytes.subarray(5)));
    await bed.flip(id);
    await failsWith("corrupt", range);
  });

  test("of what a killed process was writing nothing is seen", async (blobs, bed) => {
    const { child, lines } = spawn(bed, "hang", String(4 * MB));
    assert.equal((await lines.next()).value, "hanging");
    child.kill("SIGKILL");
    await child.status;
    await child.stdin.close().catch(() => {});
    assert.equal(await blobs.stat(idOf(new Uint8Array(4 * MB).fill(1))), null);
    assert.equal(await bed.leftovers(), 1);
  });

  test("memory stays flat, whatever the size", async (_, bed) => {
    const megabytes = Deno.env.get("UNIBUS_LONG") ? 1024 : 192;
    const { child, lines } = spawn(bed, "flow", String(megabytes));
    const { read, grown } = JSON.parse((await lines.next()).value!);
    await child.status;
    await child.stdin.close().catch(() => {});
    assert.equal(read, megabytes * MB);
    assert.ok(grown < 96 * MB, `grew by ${Math.round(grown / MB)} MB`);
  });

  test("a closed store says so, and ends what is under way", async (blobs, bed) => {
    const bytes = bytesOf(LARGE);
    const { id } = await blobs.put(chunks(bytes), { maxBytes: LARGE });
    const second = await bed.open();
    let hanging = false;
    async function* source() {
      yield* chunks(bytesOf(LARGE));
      hanging = true;
      await new Promise(() => {});
    }
    const put = second.put(source(), { maxBytes: 2 * LARGE });
    put.catch(() => {});
    const reader = (await second.get(id))!.body.getReader();
    await reader.read();
    await until("the source hangs", () => hanging);
    const unread = (await second.get(id))!;
    await second.close();
    await failsWith("closed", () => put);
    await failsWith("closed", () => reader.read());
    await failsWith("closed", () => unread.body.getReader().read());
    await failsWith("closed", () => second.stat(id));
    await failsWith("closed", () => second.get(id));
    await failsWith("closed", () => second.put(chunks(bytes), { maxBytes: LARGE }));
    assert.equal((await second.health()).ok, false);
    await second.close();
    assert.equal(await bed.leftovers(), 0);
    assert.equal((await blobs.health()).ok, true);
    assert.equal(idOf(await bodyOf(await blobs.get(id))), id);
  });
}
