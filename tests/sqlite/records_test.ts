import assert from "node:assert/strict";
import type { StoreRecord } from "../../src/core/model.ts";
import { compareRecords } from "../../src/core/order.ts";
import { openSqlite } from "../../src/sqlite/mod.ts";
import { openSource } from "../../src/sqlite/file/source.ts";
import type { Store } from "../../src/core/store.ts";
import { writeDataset } from "../tools/dataset.ts";
import { Child, failsWith, gather, inDir, newRoom, person } from "../helpers/sqlite.ts";

async function fill(store: Store, rooms = 3): Promise<void> {
  for (let i = 0; i < rooms; i++) await store.createRoom(newRoom(`room-${i}`, 4));
  for (let i = 0; i < 10; i++) await store.addUser(person(i));
  await store.createInvite({ createdBy: "cli" });
}

async function* ofDataset(path: string): AsyncGenerator<StoreRecord> {
  await using store = openSqlite(path, { readOnly: true });
  yield* store.records();
}

Deno.test("records() shows one point in time while this and another process write", async () => {
  await inDir(async (dir) => {
    const path = `${dir}/it.db`;
    await using store = openSqlite(path);
    await fill(store);
    const before = await gather(store.records());
    await using child = new Child(["add", path, "other", "50"]);
    assert.equal(await child.line(), "ready");

    const stream = store.records()[Symbol.asyncIterator]();
    const seen = [(await stream.next()).value!];
    await store.deleteRoom("room-2");
    await store.createRoom(newRoom("a-room-in-front"));
    await store.addUser(person("late"));
    await child.go();
    assert.equal(await child.line(), "added");
    for (let it = await stream.next(); !it.done; it = await stream.next()) seen.push(it.value);

    assert.deepEqual(seen, before);
    const after = await gather(store.records());
    assert.equal(after.length, before.length - 1 - 4 - 4 + 1 + 2 + 2 + 1 + 50);
    assert.deepEqual(after, [...after].sort(compareRecords));
  });
});

Deno.test("records() of a store in memory shows one point in time too", async () => {
  await using store = openSqlite(":memory:");
  await fill(store);
  const before = await gather(store.records());
  const stream = store.records()[Symbol.asyncIterator]();
  const seen = [(await stream.next()).value!];
  await store.deleteRoom("room-2");
  for (let it = await stream.next(); !it.done; it = await stream.next()) seen.push(it.value);
  assert.deepEqual(seen, before);
});

Deno.test("records() lets go of the file when its reader stops early", async () => {
  await inDir(async (dir) => {
    const path = `${dir}/it.db`;
    const store = openSqlite(path);
    await fill(store);
    for await (const _ of store.records()) break;
    await store.close();
    // Would be refused if a connection were left.
    openSource(path).close();
  });
});

Deno.test("records() ends with aborted or closed when it is told to", async () => {
  await inDir(async (dir) => {
    const path = `${dir}/it.db`;
    const store = openSqlite(path);
    await fill(store);
    await failsWith("aborted", () => gather(store.records({ signal: AbortSignal.abort() })));
    const controller = new AbortController();
    const stream = store.records({ signal: controller.signal })[Symbol.asyncIterator]();
    await stream.next();
    controller.abort(new Error("enough"));
    await failsWith("aborted", () => stream.next());

    const left = store.records()[Symbol.asyncIterator]();
    await left.next();
    await store.close();
    openSource(path).close();
    await failsWith("closed", () => left.next());
  });
});

Deno.test("records() gives other work its turn", async () => {
  await inDir(async (dir) => {
    writeDataset(`${dir}/it.db`, { records: 20_000 });
    await using store = openSqlite(`${dir}/it.db`);
    let turns = 0;
    const timer = setInterval(() => turns++, 0);
    for await (const _ of store.records());
    clearInterval(timer);
    assert.ok(turns > 2, `${turns} turns`);
    await failsWith(
      "aborted",
      () => gather(store.records({ signal: AbortSignal.timeout(1) })),
    );
  });
});

Deno.test("restore() brings every record back as it was, into a file and into memory", async () => {
  await inDir(async (dir) => {
    writeDataset(`${dir}/from.db`, { records: 5000 });
    const records = await gather(ofDataset(`${dir}/from.db`));
    for (const path of [`${dir}/to.db`, ":memory:"]) {
      await using store = openSqlite(path);
      const progress: number[] = [];
      const counts = await store.restore(records, { onProgress: (it) => progress.push(it) });
      assert.deepEqual(await gather(store.records()), records);
      assert.equal(Object.values(counts).reduce((a, b) => a + b), records.length);
      assert.equal(progress.at(-1), records.length);
      assert.deepEqual(progress, [...progress].sort((a, b) => a - b));
    }
  });
});

Deno.test("a restore that fails late, or is aborted, leaves all that was there", async () => {
  await inDir(async (dir) => {
    writeDataset(`${dir}/from.db`, { records: 5000 });
    for (const path of [`${dir}/to.db`, ":memory:"]) {
      await using store = openSqlite(path);
      await fill(store);
      const before = await gather(store.records());
      const broken = async function* () {
        yield* ofDataset(`${dir}/from.db`);
        throw new Error("the source broke");
      };
      await assert.rejects(store.restore(broken(), { replace: true }), /^Error: the source broke$/);
      const controller = new AbortController();
      await failsWith("aborted", () =>
        store.restore(ofDataset(`${dir}/from.db`), {
          replace: true,
          signal: controller.signal,
          onProgress: () => controller.abort(),
        }));
      await failsWith("refused", () => store.restore(ofDataset(`${dir}/from.db`)), /not empty/);
      assert.deepEqual(await gather(store.records()), before);
      // And the store goes on.
      await store.restore(ofDataset(`${dir}/from.db`), { replace: true });
      assert.deepEqual(
        await gather(store.records()),
        await gather(ofDataset(`${dir}/from.db`)),
      );
    }
  });
});

Deno.test("what is written while a restore gathers is neither lost nor mixed into it", async () => {
  await inDir(async (dir) => {
    writeDataset(`${dir}/from.db`, { records: 5000 });
    for (const path of [`${dir}/to.db`, ":memory:"]) {
      await using store = openSqlite(path);
      const slow = async function* (broken: boolean) {
        for await (const it of ofDataset(`${dir}/from.db`)) yield it;
        await store.addUser(person(`while ${broken}`));
        if (broken) throw new Error("the source broke");
      };
      await assert.rejects(store.restore(slow(true)), /^Error: the source broke$/);
      assert.equal((await gather(store.records())).length, 1);
      // It was empty when the restore began, and is not when it would end.
      await store.deleteUser(person("while true").signPub);
      await failsWith("refused", () => store.restore(slow(false)), /not empty/);
      assert.equal((await gather(store.records())).length, 1);
    }
  });
});

Deno.test("closing the store ends a restore, and nothing of it is stored", async () => {
  await inDir(async (dir) => {
    writeDataset(`${dir}/from.db`, { records: 5000 });
    const path = `${dir}/to.db`;
    const store = openSqlite(path);
    const closing = async function* () {
      yield* ofDataset(`${dir}/from.db`);
      await store.close();
    };
    await failsWith("closed", () => store.restore(closing()));
    await using again = openSqlite(path);
    assert.deepEqual(await gather(again.records()), []);
  });
});
