import assert from "node:assert/strict";
import fc from "fast-check";
import { StoreError } from "../../src/core/errors.ts";
import { compareText } from "../../src/core/order.ts";
import { Bucket } from "../../src/jetstream/log/bucket.ts";
import { compare, type Diff } from "../../src/jetstream/contents/compare.ts";
import {
  decodeToken,
  encodeToken,
  parseKey,
  placeOf,
  sealedKeyKey,
} from "../../src/jetstream/records/keys.ts";
import { entriesOf } from "../../src/jetstream/records/values.ts";
import { Spool } from "../../src/jetstream/contents/spool.ts";
import { openBucket } from "../../src/jetstream/mod.ts";
import { BulkWriter } from "../../src/jetstream/log/bulk.ts";
import { isSmallOrderEd25519, isSmallOrderX25519 } from "../../src/core/checks/small_order.ts";
import { sampleRecords } from "../snapshot/records.ts";
import { testServer } from "../helpers/nats.ts";

Deno.test("keys: plain ids stand as they are, all others are encoded, both ways", () => {
  const table = [
    ["general", "general"],
    ["A-b_9/x", "A-b_9/x"],
    ["a.b", "=YS5i"],
    ["=YS5i", "=PVlTNWk"],
    ["città", "=Y2l0dMOg"],
    ["a b", "=YSBi"],
    ["*", "=Kg"],
    [">", "=Pg"],
    ["", "="],
    ["😀", "=8J-YgA"],
  ] as const;
  for (const [id, token] of table) {
    assert.equal(encodeToken(id), token);
    assert.equal(decodeToken(token), id);
  }
});

Deno.test("keys: any id comes back, is one token, and no two ids share one", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), fc.string({ unit: "grapheme" }), (a, b) => {
      const token = encodeToken(a);
      assert.equal(decodeToken(token), a);
      assert.match(token || "=", /^[-/_=0-9A-Za-z]+$/);
      assert.equal(token === encodeToken(b), a === b);
    }),
  );
});

Deno.test("keys: every record's key parses back, and its place orders as the records do", () => {
  for (const it of sampleRecords()) {
    for (const [key] of entriesOf(it)) assert.notEqual(parseKey(key), null, key);
  }
  assert.deepEqual(parseKey(sealedKeyKey("a.b", 10, "ff")), {
    space: "room_keys",
    room: "a.b",
    epoch: 10,
    endpoint: "ff",
  });
  for (
    const key of [
      "rooms",
      "rooms.a.b",
      "members.a",
      "room_keys.a.x.b",
      "room_keys.a.0.b",
      "other.a",
      "users.",
    ]
  ) {
    assert.equal(parseKey(key), null, key);
    assert.equal(placeOf(key)[0], 9);
  }
});

Deno.test("order: text compares as UTF-8 bytes do", () => {
  const bytes = (text: string) => new TextEncoder().encode(text);
  const byBytes = (a: string, b: string) => {
    const [x, y] = [bytes(a), bytes(b)];
    for (let i = 0; i < Math.min(x.length, y.length); i++) {
      if (x[i] !== y[i]) return x[i]! - y[i]!;
    }
    return x.length - y.length;
  };
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), fc.string({ unit: "binary" }), (a, b) => {
      if (!a.isWellFormed() || !b.isWellFormed()) return;
      assert.equal(Math.sign(compareText(a, b)), Math.sign(byBytes(a, b)));
    }),
    { numRuns: 2000 },
  );
  assert.ok(compareText("\uffff", "\u{10000}") < 0);
});

Deno.test("small order: the listed points with either top bit, and no ordinary key", () => {
  const one = "01" + "00".repeat(31);
  for (const it of [one, one.slice(0, 62) + "80", "00".repeat(32), "ec" + "ff".repeat(30) + "7f"]) {
    assert.equal(isSmallOrderEd25519(it), true, it);
    assert.equal(isSmallOrderX25519(it), true, it);
  }
  const rfc8032 = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
  const rfc7748 = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";
  assert.equal(isSmallOrderEd25519(rfc8032), false);
  assert.equal(isSmallOrderX25519(rfc7748), false);
});

/** Fills a bucket with some of the records in some order, and some strangers; compares. */
async function compared(
  bucket: Bucket,
  order: (entries: [string, string][]) => [string, string][],
  limit: number,
): Promise<string[]> {
  const records = sampleRecords();
  const writer = new BulkWriter(bucket);
  for (const [key, value] of order(records.flatMap((it) => entriesOf(it)))) {
    await writer.write(key, value);
  }
  await writer.flush();
  const diffs: Diff[] = [];
  for await (const it of compare(bucket, () => records, { limit })) diffs.push(it);
  return diffs.map((it) => `${it.change} ${it.key}`).sort();
}

Deno.test("compare: finds exactly what is missing, different and extra, in any order, walking or sorted", async () => {
  await using server = await testServer();
  const all = sampleRecords().flatMap((it) => entriesOf(it));
  const lost = all[7]!;
  const changed = all[all.length - 3]!;
  const expected = [
    `missing ${lost[0]}`,
    `different ${changed[0]}`,
    "extra users.zz",
    "extra unknown.key.of.nobody",
  ].sort();
  const disturbed = (entries: [string, string][]): [string, string][] => [
    ...entries.filter(([key]) => key !== lost[0]).map(([key, value]): [string, string] => [
      key,
      key === changed[0] ? value.replace("2", "3") : value,
    ]),
    ["users.zz", "{}"],
    ["unknown.key.of.nobody", "{}"],
  ];
  const orders: Record<string, (entries: [string, string][]) => [string, string][]> = {
    canonical: (it) => disturbed(it),
    reversed: (it) => disturbed(it).reverse(),
    shuffled: (it) => disturbed(it).sort(([a], [b]) => a.slice(-9) < b.slice(-9) ? -1 : 1),
  };
  for (const [name, order] of Object.entries(orders)) {
    for (const limit of [50_000, 3]) {
      const { bucket, end } = await openBucket({
        servers: server.url,
        bucket: `COMPARE_${name}_${limit}`,
      });
      assert.deepEqual(await compared(bucket, order, limit), expected, `${name}, limit ${limit}`);
      await end();
    }
  }
});

Deno.test("spool: what cannot be kept is an error, never left out", () => {
  const spool = new Spool();
  // Stands for a temporary directory without room.
  spool[Symbol.dispose]();
  for (const bytes of [2, 0]) {
    assert.throws(
      () => spool.take("users.a", new Uint8Array(bytes)),
      (error) => error instanceof StoreError && error.code === "unavailable",
    );
  }
});
