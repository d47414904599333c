import assert from "node:assert/strict";
import { isStoreError, StoreError } from "../../src/core/errors.ts";
import type { StoreRecord } from "../../src/core/model.ts";
import {
  exportSnapshot,
  readSnapshot,
  SnapshotDigest,
  verifySnapshot,
} from "../../src/snapshot/mod.ts";
import { manyRecords, sampleRecords, snapshotOf, storeOf } from "./records.ts";

/** A store that counts what is taken from it and sees when it is let go. */
function watchedStore(records: Iterable<StoreRecord>) {
  const seen = { taken: 0, opened: 0, released: 0, signal: undefined as AbortSignal | undefined };
  return {
    seen,
    async *records(options: { signal?: AbortSignal } = {}): AsyncGenerator<StoreRecord> {
      seen.opened++;
      seen.signal = options.signal;
      try {
        for (const it of records) {
          seen.taken++;
          yield it;
        }
      } finally {
        seen.released++;
      }
    },
  };
}

Deno.test("300,000 records pass through export and import holding no more than a few chunks", async () => {
  const total = 300_000;
  const store = watchedStore(manyRecords(total));
  let written = 0;
  let read = 0;
  let widest = 0;
  let largest = 0;
  let smallest = Infinity;
  const want = new SnapshotDigest();
  for (const it of manyRecords(total)) want.add(it);

  // Records taken from the store and not yet handed to the reader are all that is held.
  async function* counted(): AsyncGenerator<Uint8Array> {
    for await (const chunk of exportSnapshot(store)) {
      written += chunk.length;
      largest = Math.max(largest, chunk.length);
      if (store.seen.taken < total) smallest = Math.min(smallest, chunk.length);
      yield chunk;
    }
  }
  const reader = readSnapshot(counted());
  let it = await reader.next();
  for (; !it.done; it = await reader.next()) {
    read++;
    widest = Math.max(widest, store.seen.taken - read);
  }
  assert.deepEqual(it.value, want.summary());
  assert.equal(read, total);
  assert.ok(written > 60_000_000, `${written} bytes`);
  // One chunk on its way and one being read, at more than 150 bytes a record.
  assert.ok(widest < 2 * 65_536 / 150, `${widest} records were held`);
  assert.ok(largest < 2 * 65_536, `chunks of ${largest} bytes`);
  assert.ok(smallest >= 65_536, `chunks of ${smallest} bytes`);
  assert.equal(store.seen.released, 1);
});

Deno.test("an export reads nothing before it is asked, then only what the consumer takes", async () => {
  const store = watchedStore(manyRecords(20_000));
  const stream = exportSnapshot(store);
  // A turn of the event loop: time enough for a stream that reads ahead to begin.
  await new Promise((resolve) => setTimeout(resolve));
  assert.equal(store.seen.opened, 0);
  const reader = stream.getReader();
  let bytes = 0;
  for (let chunk = 1; chunk <= 10; chunk++) {
    bytes += (await reader.read()).value!.length;
    await new Promise((resolve) => setTimeout(resolve));
    const taken = store.seen.taken;
    assert.ok(taken <= bytes / 150, `${taken} records taken for ${bytes} bytes`);
  }
  await reader.cancel();
});

Deno.test("canceling an export lets the store go", async () => {
  const store = watchedStore(manyRecords(20_000));
  const reader = exportSnapshot(store).getReader();
  await reader.read();
  assert.equal(store.seen.released, 0);
  await reader.cancel();
  assert.equal(store.seen.released, 1);

  const unread = watchedStore(manyRecords(10));
  await exportSnapshot(unread).cancel();
  assert.equal(unread.seen.opened, 0);
});

Deno.test("an aborted export fails with aborted and lets the store go, also when nobody reads", async () => {
  const store = watchedStore(manyRecords(20_000));
  const controller = new AbortController();
  const reader = exportSnapshot(store, { signal: controller.signal }).getReader();
  await reader.read();
  assert.equal(store.seen.signal, controller.signal);
  const reason = new Error("enough");
  controller.abort(reason);
  await new Promise((resolve) => setTimeout(resolve));
  assert.equal(store.seen.released, 1);
  const isAborted = (e: unknown) => isStoreError(e, "aborted") && e.cause === reason;
  await assert.rejects(reader.read(), isAborted);

  const late = watchedStore(manyRecords(10));
  await assert.rejects(
    new Response(exportSnapshot(late, { signal: AbortSignal.abort(reason) })).text(),
  );
  assert.equal(late.seen.opened, 0);
});

Deno.test("an export aborted in the middle of a read ends with aborted", async () => {
  const controller = new AbortController();
  let waiting: () => void;
  const isWaiting = new Promise<void>((resolve) => waiting = resolve);
  const store = {
    // A backend that waits for its server, and gives up when the signal says so.
    async *records({ signal }: { signal?: AbortSignal } = {}): AsyncGenerator<StoreRecord> {
      yield sampleRecords()[0]!;
      await new Promise((_, reject) => {
        signal!.addEventListener("abort", () => reject(new StoreError("aborted", "Gave up")));
        waiting();
      });
    },
  };
  const reading = exportSnapshot(store, { signal: controller.signal }).getReader().read();
  await isWaiting;
  controller.abort();
  await assert.rejects(reading, (e) => isStoreError(e, "aborted"));
});

Deno.test("an export that has ended leaves no listener on its signal", async () => {
  const { signal } = new AbortController();
  const listeners = new Set<unknown>();
  let added = 0;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (type: string, it: EventListener, options?: object) => {
    listeners.add(it);
    added++;
    add(type, it, options);
  };
  signal.removeEventListener = (type: string, it: EventListener) => {
    listeners.delete(it);
    remove(type, it);
  };
  const store = storeOf(sampleRecords());
  const finished = exportSnapshot(store, { signal });
  assert.ok(await verifySnapshot(await new Response(finished).text()));
  assert.equal(added, 1);
  assert.equal(listeners.size, 0);
  await exportSnapshot(store, { signal }).cancel();
  assert.equal(listeners.size, 0);
});

Deno.test("the store's own error comes out of the stream as it is", async () => {
  const broken = new StoreError("unavailable", "The server is gone");
  const store = {
    async *records(): AsyncGenerator<StoreRecord> {
      yield* manyRecords(5000);
      throw broken;
    },
  };
  const reader = exportSnapshot(store).getReader();
  await assert.rejects(
    async () => {
      while (!(await reader.read()).done);
    },
    (e) => e === broken,
  );
});

Deno.test("an export fails rather than write what could not be read back", async () => {
  const records = sampleRecords();
  const at = records.findIndex((it) => it.kind === "users");
  const cases: [StoreRecord[], RegExp][] = [
    [
      records.with(at, {
        ...records[at]!,
        record: { ...records[at]!.record, handle: "a\u0007" },
      } as StoreRecord),
      /1 record is invalid \(users: 1\).*"users .*": handle must not contain control/,
    ],
    [[...records].reverse(), /is out of order: it follows/],
    [records.toSpliced(at, 0, records[at]!), /is out of order: it follows/],
    [records.filter((it) => it.kind !== "members"), /has no member who is its owner/],
    [
      records.map((it) => it.kind === "rooms" ? { ...it, record: { ...it.record, epoch: 1 } } : it),
      /is ahead of the room, which is at epoch 1/,
    ],
  ];
  for (const [damaged, reason] of cases) {
    const reader = exportSnapshot(storeOf(damaged)).getReader();
    await assert.rejects(
      reader.read(),
      (e) => isStoreError(e, "corrupt") && reason.test(e.message),
    );
  }
});

Deno.test("an export goes to a file and comes back from its stream", async () => {
  const path = await Deno.makeTempFile({ suffix: ".ndjson" });
  try {
    await Deno.writeFile(path, exportSnapshot(storeOf(manyRecords(5000))));
    const file = await Deno.open(path);
    const summary = await verifySnapshot(file.readable);
    const want = new SnapshotDigest();
    for (const it of manyRecords(5000)) want.add(it);
    assert.deepEqual(summary, want.summary());
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("a source is let go when reading ends early or finds damage", async () => {
  const bytes = await snapshotOf(manyRecords(5000));
  for (const damage of [false, true]) {
    let canceled = false;
    let at = 0;
    const source = new ReadableStream<Uint8Array>({
      pull(controller) {
        const chunk = bytes.slice(at, at += 10_000);
        if (damage && at === 50_000) chunk[100]! ^= 0x80;
        controller.enqueue(chunk);
      },
      cancel() {
        canceled = true;
      },
    }, { highWaterMark: 0 });
    if (damage) await assert.rejects(verifySnapshot(source), (e) => isStoreError(e, "corrupt"));
    else for await (const _ of readSnapshot(source)) break;
    assert.ok(canceled);
    assert.ok(at <= 60_000, `${at} bytes were taken`);
  }
});

Deno.test("what the source throws comes out as it is", async () => {
  const broken = new Error("disk on fire");
  async function* source(): AsyncGenerator<Uint8Array> {
    yield (await snapshotOf(sampleRecords())).subarray(0, 2000);
    throw broken;
  }
  await assert.rejects(verifySnapshot(source()), (e) => e === broken);
});
