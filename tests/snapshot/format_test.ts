import fc from "fast-check";
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { KINDS, type StoreRecord } from "../../src/core/model.ts";
import { keyText } from "../../src/core/order.ts";
import {
  decodeRecord,
  encodeRecord,
  exportSnapshot,
  readSnapshot,
  SnapshotDigest,
  type SnapshotSummary,
  verifySnapshot,
} from "../../src/snapshot/mod.ts";
import { anyRecords, sampleRecords, snapshotOf, storeOf } from "./records.ts";

const FIXTURE = new URL("../fixtures/snapshot-v1.ndjson", import.meta.url);

async function readAll(
  source: Parameters<typeof readSnapshot>[0],
): Promise<{ records: StoreRecord[]; summary: SnapshotSummary }> {
  const records: StoreRecord[] = [];
  const reader = readSnapshot(source);
  for (;;) {
    const it = await reader.next();
    if (it.done) return { records, summary: it.value };
    records.push(it.value);
  }
}

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

Deno.test("any control plane comes back equal from its snapshot", async () => {
  await fc.assert(
    fc.asyncProperty(anyRecords, async (records) => {
      const bytes = await snapshotOf(records);
      const { records: found, summary } = await readAll(bytes);
      assert.deepEqual(found, records);
      assert.deepEqual(await verifySnapshot(bytes), summary);
      for (const kind of KINDS) {
        assert.equal(summary.counts[kind], records.filter((it) => it.kind === kind).length);
      }
    }),
    { numRuns: 300 },
  );
});

Deno.test("every record line decodes to its record and encodes to itself", () => {
  fc.assert(
    fc.property(anyRecords, (records) => {
      for (const it of records) {
        const line = encodeRecord(it);
        assert.deepEqual(decodeRecord(line), it);
        assert.equal(encodeRecord(decodeRecord(line)), line);
        assert.ok(!line.includes("\n"));
      }
    }),
    { numRuns: 200 },
  );
});

Deno.test("equal records give equal lines, however their objects were built", () => {
  for (const { kind, record } of sampleRecords()) {
    const backwards = Object.fromEntries(Object.entries(record).reverse());
    const buffer = "sealedKey" in record ? { sealedKey: Buffer.from(record.sealedKey) } : {};
    const it = { kind, record: { ...backwards, ...buffer, extra: "not ours" } };
    assert.equal(
      encodeRecord(it as unknown as StoreRecord),
      encodeRecord({ kind, record } as StoreRecord),
    );
  }
});

Deno.test("a sealed key that is a window on a larger buffer is written alone", () => {
  const large = new Uint8Array(100).map((_, i) => i);
  const it = sampleRecords().find((it) => it.kind === "room_keys")!;
  const line = encodeRecord(
    { ...it, record: { ...it.record, sealedKey: large.subarray(10, 13) } } as StoreRecord,
  );
  assert.match(line, /"sealedKey":"CgsM"/);
});

Deno.test("the trailer's digests are those of the lines, as sha256sum computes them", async () => {
  const text = new TextDecoder().decode(await snapshotOf(sampleRecords()));
  const lines = text.split("\n").slice(0, -1);
  const trailer = JSON.parse(lines.at(-1)!);
  assert.deepEqual(Object.keys(trailer), ["kind", "counts", "sha256"]);
  assert.equal(trailer.sha256.all, sha256(lines.slice(0, -1).join("\n") + "\n"));
  for (const kind of KINDS) {
    const own = lines.filter((it) => it.startsWith(`{"kind":"${kind}"`));
    assert.equal(trailer.counts[kind], own.length);
    assert.equal(trailer.sha256[kind], sha256(own.map((it) => it + "\n").join("")));
  }
});

Deno.test("SnapshotDigest agrees with the snapshot, and can be asked on the way", async () => {
  const records = sampleRecords();
  const digest = new SnapshotDigest();
  const empty = digest.summary();
  assert.deepEqual(empty, await verifySnapshot(await snapshotOf([])));
  for (const [i, it] of records.entries()) {
    if (i % 2) digest.add(it);
    else digest.add(it, encodeRecord(it));
    digest.summary();
  }
  assert.deepEqual(digest.summary(), await verifySnapshot(await snapshotOf(records)));
  assert.notEqual(digest.summary().digest, empty.digest);
});

Deno.test("an empty store gives a snapshot of header and trailer", async () => {
  const text = new TextDecoder().decode(await snapshotOf([]));
  assert.equal(text.split("\n").length, 3);
  const { records, summary } = await readAll(text);
  assert.deepEqual(records, []);
  assert.equal(summary.counts.rooms, 0);
  assert.equal(summary.digests.rooms, sha256(""));
});

Deno.test("a file of format version 1 is read by today's code and written the same", async () => {
  const bytes = await Deno.readFile(FIXTURE);
  const { records, summary } = await readAll(bytes);
  assert.deepEqual(records, sampleRecords());
  assert.deepEqual(await snapshotOf(records), bytes);
  // Computed with sha256sum when the file was made.
  assert.equal(summary.digest, "788d0150b36f240c56023601e6009048bfd94fc6bf960bbd7dfcbdfcd6941af6");
  assert.deepEqual(summary.counts, { rooms: 4, members: 5, room_keys: 5, users: 2, invites: 3 });
});

Deno.test("unicode ids keep their bytes and the order of code points", async () => {
  const [room, member] = (["rooms", "members"] as const).map((kind) =>
    sampleRecords().find((it) => it.kind === kind)!
  );
  // By UTF-16 unit the pair would come first.
  const ids = ["\ue000", "\uffff", "\u{10000}", "\u{1f6aa}"];
  const records = [
    ...ids.map((id) => ({ ...room!, record: { ...room!.record, id } })),
    ...ids.map((roomId) => ({ ...member!, record: { ...member!.record, roomId } })),
  ] as StoreRecord[];
  const { records: found } = await readAll(await snapshotOf(records));
  assert.deepEqual(found.slice(0, 4).map((it) => keyText(it)), ids.map((id) => `rooms ${id}`));
});

Deno.test("sources of every kind and every chunk size read the same", async () => {
  const bytes = await snapshotOf(sampleRecords());
  const want = await verifySnapshot(bytes);
  assert.deepEqual(await verifySnapshot(new TextDecoder().decode(bytes)), want);
  assert.deepEqual(await verifySnapshot(exportSnapshot(storeOf(sampleRecords()))), want);
  async function* chunks(size: number): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < bytes.length; at += size) {
      yield Buffer.from(bytes.subarray(at, at + size));
      yield new Uint8Array(0);
    }
  }
  for (const size of [1, 2, 3, 7, 64, 1000, bytes.length]) {
    assert.deepEqual(await verifySnapshot(chunks(size)), want);
  }
});

Deno.test("text longer than one piece keeps its surrogate pairs", async () => {
  const user = sampleRecords().find((it) => it.kind === "users")!;
  let cutPairs = 0;
  // The first records move the places where the text is cut through a whole line, unit by unit.
  for (let shift = 0; shift < 16; shift++) {
    const records = Array.from({ length: 400 }, (_, i) => ({
      kind: "users",
      record: {
        ...user.record,
        signPub: (i + 16).toString(16).padStart(8, "0").padEnd(64, "7"),
        handle: i < shift / 2 ? "x".repeat(63 + shift % 2) : "🦊".repeat(64),
      },
    } as StoreRecord));
    const bytes = await snapshotOf(records);
    const text = new TextDecoder().decode(bytes);
    assert.deepEqual(await verifySnapshot(text), await verifySnapshot(bytes));
    if ((text.charCodeAt(65_535) & 0xfc00) === 0xd800) cutPairs++;
  }
  assert.ok(cutPairs > 0, "no cut fell into a pair");
});

Deno.test("a member's line says accepted only where it is false, so lines of version 0.1 stay as they are", () => {
  const member = sampleRecords().find((it) => it.kind === "members" && it.record.role === "member");
  assert.ok(member?.kind === "members");
  const accepted = encodeRecord(member);
  assert.ok(!accepted.includes("accepted"));
  assert.deepEqual(decodeRecord(accepted), member);
  const offer = { kind: "members" as const, record: { ...member.record, accepted: false } };
  const line = encodeRecord(offer);
  assert.equal(line, accepted.replace(/}$/, ',"accepted":false}'));
  assert.deepEqual(decodeRecord(line), offer);
  const spelledOut = line.replace("false}", "true}");
  assert.throws(() => decodeRecord(spelledOut), { code: "corrupt" });
});
