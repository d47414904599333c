import fc from "fast-check";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { isStoreError } from "../../src/core/errors.ts";
import type { StoreRecord } from "../../src/core/model.ts";
import { keyText } from "../../src/core/order.ts";
import {
  type Difference,
  diffRecords,
  encodeRecord,
  readSnapshot,
  type Records,
} from "../../src/snapshot/mod.ts";
import { anyRecords, manyRecords, sampleRecords, snapshotOf, sorted } from "./records.ts";

async function diff(left: Records, right: Records): Promise<Difference[]> {
  const all: Difference[] = [];
  for await (const it of diffRecords(left, right)) all.push(it);
  return all;
}

const changed = (it: StoreRecord, part: Record<string, unknown>) =>
  ({ ...it, record: { ...it.record, ...part } }) as StoreRecord;

Deno.test("equal states have no difference, whatever class holds the bytes", async () => {
  const records = sampleRecords();
  const buffers = records.map((it) =>
    it.kind === "room_keys" ? changed(it, { sealedKey: Buffer.from(it.record.sealedKey) }) : it
  );
  assert.deepEqual(await diff(records, buffers), []);
  assert.deepEqual(await diff(records, readSnapshot(await snapshotOf(records))), []);
  assert.deepEqual(await diff([], []), []);
});

Deno.test("records of one side only are named by key, in canonical order", async () => {
  const records = sampleRecords();
  const left = records.filter((_, i) => i % 3 !== 0);
  const right = records.filter((_, i) => i % 3 !== 1);
  assert.deepEqual(
    await diff(left, right),
    records.flatMap((it, i) => {
      if (i % 3 === 2) return [];
      const change = i % 3 === 0 ? "only-right" : "only-left";
      return [{ kind: it.kind, key: keyText(it), change }];
    }),
  );
});

Deno.test("different records are named with their fields and no values", async () => {
  const left = sampleRecords();
  const key = left.findIndex((it) => it.kind === "room_keys" && it.record.roomId === "lobby");
  const user = left.findIndex((it) => it.kind === "users" && it.record.handle === "eve");
  const sealedKey = new Uint8Array(64).fill(7);
  const right = left
    .with(key, changed(left[key]!, { sealedKey, createdAt: "2030-01-01T00:00:00.000Z" }))
    .with(user, changed(left[user]!, { status: "active", revokedAt: null }));
  const differences = await diff(left, right);
  assert.deepEqual(differences, [
    {
      kind: "room_keys",
      key: keyText(left[key]!),
      change: "different",
      fields: ["sealedKey", "createdAt"],
    },
    {
      kind: "users",
      key: keyText(left[user]!),
      change: "different",
      fields: ["status", "revokedAt"],
    },
  ]);
  const text = JSON.stringify(differences);
  assert.ok(!text.includes(Buffer.from(sealedKey).toString("base64url")) && !text.includes("7,7"));
});

Deno.test("a sealed key that is the beginning of the other one is different", async () => {
  const key = sampleRecords().find((it) => it.kind === "room_keys")!;
  const cut = changed(key, { sealedKey: key.record.sealedKey.subarray(0, 10) });
  for (const [left, right] of [[key, cut], [cut, key]] as const) {
    assert.deepEqual((await diff([left], [right])).map((it) => it.fields), [["sealedKey"]]);
  }
});

Deno.test("the differences of any two states are those a map of lines finds", async () => {
  const someOf = (records: StoreRecord[]) =>
    fc.tuple(fc.subarray(records), fc.subarray(records), fc.subarray(records)).map((
      [left, right, touched],
    ) => ({
      left: sorted(left),
      right: sorted(right).map((it) =>
        !touched.includes(it)
          ? it
          : it.kind === "members"
          ? changed(it, { joinedAt: "2001-01-01T00:00:00.000Z" })
          : changed(it, { createdAt: "2001-01-01T00:00:00.000Z" })
      ),
    }));
  await fc.assert(
    fc.asyncProperty(anyRecords.chain(someOf), async ({ left, right }) => {
      const a = new Map(left.map((it) => [keyText(it), encodeRecord(it)]));
      const b = new Map(right.map((it) => [keyText(it), encodeRecord(it)]));
      const want = new Map<string, string>();
      for (const [key, line] of a) {
        if (!b.has(key)) want.set(key, "only-left");
        else if (b.get(key) !== line) want.set(key, "different");
      }
      for (const key of b.keys()) if (!a.has(key)) want.set(key, "only-right");
      const found = await diff(left, right);
      assert.deepEqual(
        new Map(found.map((it): [string, string] => [it.key, it.change])),
        want,
      );
      assert.equal(found.length, want.size);
      for (const it of found) assert.equal(it.fields !== undefined, it.change === "different");
    }),
    { numRuns: 300 },
  );
});

Deno.test("a side out of order is refused, not misread", async () => {
  const records = sampleRecords();
  for (const bad of [[...records].reverse(), records.toSpliced(1, 0, records[1]!)]) {
    const left = diff(bad, records);
    await assert.rejects(left, (e) => isStoreError(e, "invalid") && /left side/.test(e.message));
    const right = diff([], bad);
    await assert.rejects(right, (e) => isStoreError(e, "invalid") && /right side/.test(e.message));
  }
});

Deno.test("both sides are read in step and let go when the caller stops", async () => {
  const seen = { left: 0, right: 0, released: 0 };
  async function* side(name: "left" | "right"): AsyncGenerator<StoreRecord> {
    try {
      for (const it of manyRecords(50_000)) {
        seen[name]++;
        yield name === "right" && seen.right === 30_000
          ? changed(it, { createdAt: "2001-01-01T00:00:00.000Z" })
          : it;
      }
    } finally {
      seen.released++;
    }
  }
  for await (const it of diffRecords(side("left"), side("right"))) {
    assert.equal(it.change, "different");
    break;
  }
  assert.deepEqual(seen, { left: 30_000, right: 30_000, released: 2 });
});

Deno.test("a side that fails ends the comparison with its error, the other is let go", async () => {
  const broken = new Error("no more");
  let released = false;
  async function* failing(): AsyncGenerator<StoreRecord> {
    yield sampleRecords()[0]!;
    throw broken;
  }
  async function* good(): AsyncGenerator<StoreRecord> {
    try {
      yield* sampleRecords();
    } finally {
      released = true;
    }
  }
  await assert.rejects(diff(failing(), good()), (e) => e === broken);
  assert.ok(released);
});
