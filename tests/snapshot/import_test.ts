import fc from "fast-check";
import assert from "node:assert/strict";
import { isStoreError } from "../../src/core/errors.ts";
import type { StoreRecord } from "../../src/core/model.ts";
import {
  diffRecords,
  exportSnapshot,
  importSnapshot,
  readSnapshot,
  verifySnapshot,
} from "../../src/snapshot/mod.ts";
import { openSqlite } from "../../src/sqlite/mod.ts";
import type { Store } from "../../src/core/store.ts";
import { anyRecords, hex, manyRecords, sampleRecords, snapshotOf } from "./records.ts";

const exported = (store: Store) => exportSnapshot(store, { history: false });
const bytesOf = async (store: Store) =>
  new Uint8Array(await new Response(exported(store)).arrayBuffer());

async function recordsOf(store: Store): Promise<StoreRecord[]> {
  const all: StoreRecord[] = [];
  for await (const it of store.records()) all.push(it);
  return all;
}

Deno.test("any control plane goes through SQLite and comes out byte-equal", async () => {
  await fc.assert(
    fc.asyncProperty(anyRecords, async (records) => {
      await using store = openSqlite(":memory:");
      const bytes = await snapshotOf(records);
      const summary = await importSnapshot(store, bytes);
      assert.deepEqual(await bytesOf(store), bytes);
      assert.deepEqual(await verifySnapshot(exported(store)), summary);
    }),
    { numRuns: 40 },
  );
});

Deno.test("epochs, statuses and times survive the way into another store, which works", async () => {
  await using first = openSqlite(":memory:");
  const [ada, bob] = [hex("ada"), hex("bob")];
  const member = (endpoint: string) => ({ endpoint, kexPub: hex(`kex ${endpoint}`) });
  const keys = (fill: number) =>
    [ada, bob].map((endpoint) => ({ endpoint, sealedKey: new Uint8Array(48).fill(fill) }));
  await first.createRoom({
    id: "größe-部屋",
    subject: "chat.room",
    owner: member(ada),
    members: [member(bob)],
    sealedKeys: keys(1),
  });
  await first.rekeyRoom("größe-部屋", { epoch: 2, sealedKeys: keys(2) });
  const { token } = await first.createInvite({ createdBy: "cli", role: "admin" });
  await first.consumeInvite(token, { signPub: ada, kexPub: hex("k"), handle: "Ada" });
  await first.addUser({ signPub: bob, kexPub: hex("k"), handle: "Bob" });
  await first.revokeUser(bob);
  const open = await first.createInvite({ createdBy: ada });

  await using second = openSqlite(":memory:");
  const summary = await importSnapshot(second, exported(first));
  assert.deepEqual(summary.counts, { rooms: 1, members: 2, room_keys: 4, users: 2, invites: 2 });
  assert.deepEqual(await bytesOf(second), await bytesOf(first));
  assert.equal((await second.getRoom("größe-部屋")).epoch, 2);
  assert.equal((await second.getSealedKey("größe-部屋", bob)).sealedKey[0], 2);
  assert.equal(await second.isAuthorized(ada), true);
  assert.equal(await second.isAuthorized(bob), false);
  await assert.rejects(
    second.consumeInvite(token, { signPub: hex("eve"), kexPub: hex("k"), handle: "Eve" }),
    (e) => isStoreError(e, "invite_used"),
  );
  await second.consumeInvite(open.token, { signPub: hex("eve"), kexPub: hex("k"), handle: "Eve" });

  const differences = [];
  for await (const it of diffRecords(first.records(), second.records())) differences.push(it);
  assert.deepEqual(differences, [
    { kind: "users", key: `users ${hex("eve")}`, change: "only-right" },
    {
      kind: "invites",
      key: `invites ${open.invite.id}`,
      change: "different",
      fields: ["usedAt", "usedBy"],
    },
  ]);
});

Deno.test("a snapshot holds no token, time of export, backend or path", async () => {
  const path = await Deno.makeTempDir();
  try {
    await using file = openSqlite(`${path}/store.db`);
    await using memory = openSqlite(":memory:");
    await importSnapshot(file, await snapshotOf(sampleRecords()));
    await importSnapshot(memory, await snapshotOf(sampleRecords()));
    const { token } = await file.createInvite({ createdBy: "cli" });
    await importSnapshot(memory, exported(file), { replace: true });
    const text = new TextDecoder().decode(await bytesOf(file));
    assert.equal(text, new TextDecoder().decode(await bytesOf(memory)));
    for (const word of [token, "sqlite", "memory", path, Deno.hostname()]) {
      assert.ok(!text.includes(word), `the snapshot holds ${word}`);
    }
  } finally {
    await Deno.remove(path, { recursive: true });
  }
});

Deno.test("a damaged snapshot leaves nothing written, wherever the damage is", async () => {
  const bytes = await snapshotOf(manyRecords(3000));
  const before = sampleRecords();
  await using full = openSqlite(":memory:");
  await importSnapshot(full, await snapshotOf(before));
  await using empty = openSqlite(":memory:");
  const flip = (at: number) => {
    const damaged = bytes.slice();
    damaged[at]! ^= 1;
    return damaged;
  };
  const damages: [string, Uint8Array][] = [
    ["last byte gone", bytes.subarray(0, -1)],
    ["trailer gone", bytes.subarray(0, bytes.lastIndexOf(10, bytes.length - 2) + 1)],
    ["cut in half", bytes.subarray(0, bytes.length / 2)],
    ["flip in the trailer", flip(bytes.length - 10)],
    ["flip in the middle", flip(bytes.length >> 1)],
    ["flip in the header", flip(12)],
    ["flip in the last record", flip(bytes.lastIndexOf(10, bytes.length - 2) - 30)],
    ["a line more", new Uint8Array([...bytes, 10])],
  ];
  for (const [what, damaged] of damages) {
    await assert.rejects(importSnapshot(empty, damaged), (e) => isStoreError(e, "corrupt"), what);
    assert.deepEqual(await recordsOf(empty), [], what);
    await assert.rejects(
      importSnapshot(full, damaged, { replace: true }),
      (e) => isStoreError(e, "corrupt"),
      what,
    );
    assert.deepEqual(await recordsOf(full), before, what);
  }
  await importSnapshot(empty, bytes);
  assert.deepEqual(await bytesOf(empty), bytes);
});

Deno.test("a snapshot of another version leaves nothing written", async () => {
  await using store = openSqlite(":memory:");
  const text = new TextDecoder().decode(await snapshotOf(sampleRecords()));
  const other = text.replace('"version":1', '"version":3');
  await assert.rejects(importSnapshot(store, other), (e) => isStoreError(e, "unsupported"));
  assert.deepEqual(await recordsOf(store), []);
});

Deno.test("a lost room is reported as the damage it is, not as orphans", async () => {
  await using store = openSqlite(":memory:");
  const lines = new TextDecoder().decode(await snapshotOf(sampleRecords())).split("\n");
  const at = lines.findIndex((it) => it.includes('"kind":"rooms","id":"lobby"'));
  await assert.rejects(
    importSnapshot(store, lines.toSpliced(at, 1).join("\n")),
    (e) => isStoreError(e, "corrupt") && /rooms: 4 expected and 3 found/.test(e.message),
  );
  assert.deepEqual(await recordsOf(store), []);
});

Deno.test("an import into a store that is not empty is refused, and lets its source go", async () => {
  await using store = openSqlite(":memory:");
  await importSnapshot(store, await snapshotOf(sampleRecords()));
  let canceled = false;
  const source = new ReadableStream<Uint8Array>({
    cancel() {
      canceled = true;
    },
  });
  await assert.rejects(importSnapshot(store, source), (e) => isStoreError(e, "refused"));
  assert.ok(canceled);
  assert.deepEqual(await recordsOf(store), sampleRecords());
});

Deno.test("an import reports progress, and its signal ends it with nothing written", async () => {
  await using store = openSqlite(":memory:");
  const bytes = await snapshotOf(manyRecords(10_000));
  const controller = new AbortController();
  const seen: number[] = [];
  await assert.rejects(
    importSnapshot(store, bytes, {
      signal: controller.signal,
      onProgress: (done) => {
        seen.push(done);
        controller.abort();
      },
    }),
    (e) => isStoreError(e, "aborted"),
  );
  assert.ok(seen.length > 0 && seen.at(-1)! < 10_000, `${seen}`);
  assert.deepEqual(await recordsOf(store), []);
  await importSnapshot(store, bytes, { onProgress: (done) => seen.push(done) });
  assert.equal(seen.at(-1), 10_000);
});

Deno.test("a canceled export of a store leaves it able to write and close", async () => {
  await using store = openSqlite(":memory:");
  await importSnapshot(store, await snapshotOf(manyRecords(5000)));
  const reader = exportSnapshot(store).getReader();
  await reader.read();
  await reader.cancel();
  await store.addUser({ signPub: hex("ada"), kexPub: hex("k"), handle: "Ada" });
  let users = 0;
  for await (const it of readSnapshot(exportSnapshot(store))) if (it.kind === "users") users++;
  assert.equal(users, 501);
});
