import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { setImmediate, setTimeout } from "node:timers/promises";
import { isStoreError } from "../../src/core/errors.ts";
import type { HistoryEntry } from "../../src/core/history/entry.ts";
import { compareRevisionTexts } from "../../src/core/history/revision.ts";
import type { StoredEntry } from "../../src/core/history/source.ts";
import type { Store } from "../../src/core/store.ts";
import { switchOf } from "../../src/core/store/switching.ts";
import {
  exportSnapshot,
  importSnapshot,
  readSnapshot,
  verifySnapshot,
} from "../../src/snapshot/mod.ts";
import { openJetStream } from "../../src/jetstream/mod.ts";
import { openSqlite } from "../../src/sqlite/mod.ts";
import { newUser } from "../conformance/kit/kit.ts";
import { testServer } from "../helpers/nats.ts";
import { inDir } from "../helpers/sqlite.ts";

const textOf = (store: Store, options = {}) => new Response(exportSnapshot(store, options)).text();
const bytesOf = (text: string) => new TextEncoder().encode(text);
const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

/** The history with the stored heads. */
async function walk(store: Store): Promise<StoredEntry[]> {
  return await Array.fromAsync(switchOf(store).history!.walk(null));
}

/** A store in memory with changes of two authors. */
async function changed(changes = 5): Promise<Store> {
  const store = openSqlite(":memory:");
  for (let i = 0; i < changes; i++) {
    const { signPub } = await store.as(`cli:ada@n${i % 2}`).addUser(newUser());
    if (i % 2 === 0) await store.revokeUser(signPub);
  }
  return store;
}

Deno.test("a snapshot carries the history, with its chain, into a store that has none", async () => {
  await using first = await changed();
  const text = await textOf(first);
  const lines = text.split("\n").slice(0, -1);
  assert.equal(lines[0], '{"format":"unibus-membership-snapshot","version":2}');
  const trailer = JSON.parse(lines.at(-1)!);
  assert.equal(trailer.counts.history, 8);
  assert.equal(trailer.sha256.file, sha256(lines.slice(0, -1).map((it) => it + "\n").join("")));
  const plain = JSON.parse((await textOf(first, { history: false })).split("\n").at(-2)!);
  assert.equal(trailer.sha256.all, plain.sha256.all);

  await using second = openSqlite(":memory:");
  const summary = await importSnapshot(second.as("cli:bob@n1"), bytesOf(text));
  assert.deepEqual(summary, await verifySnapshot(text));
  const [before, after] = [await walk(first), await walk(second)];
  assert.deepEqual(after.slice(0, -1), before);
  assert.equal(summary.history!.end.head, before.at(-1)!.head);
  const last = after.at(-1)!.entry;
  assert.deepEqual([last.action, last.by], ["store.restored", "cli:bob@n1"]);
  await second.addUser(newUser());
  const revisions = (await walk(second)).map(({ entry }) => entry.revision);
  assert.deepEqual(revisions, revisions.toSorted(compareRevisionTexts));
  const users = await Array.fromAsync(readSnapshot(text));
  assert.equal(users.length, 5);
});

Deno.test("revisions continue after those of a history of a later generation, also when it is opened again", async () => {
  await inDir(async (dir) => {
    await using first = await changed(2);
    const line = /("kind":"history","revision":")0\./g;
    const moved = (await textOf(first)).replaceAll(line, "$17.").split("\n").slice(0, -2);
    const lines = (kind: string) =>
      moved.filter((it) => it.startsWith(`{"kind":"${kind}"`)).map((it) => it + "\n").join("");
    const trailer = JSON.parse((await textOf(first)).split("\n").at(-2)!);
    trailer.sha256.history = sha256(lines("history"));
    trailer.sha256.file = sha256(moved.join("\n") + "\n");
    const path = `${dir}/store.db`;
    {
      await using store = openSqlite(path);
      await importSnapshot(store, [...moved, JSON.stringify(trailer), ""].join("\n"));
      assert.equal(store.generation, 7);
      await store.addUser(newUser());
    }
    await using store = openSqlite(path);
    await store.addUser(newUser());
    const { items } = await store.history();
    assert.deepEqual(items.map((it) => it.revision), ["7.1", "7.2", "7.3", "7.4", "7.5", "7.6"]);
  });
});

Deno.test("without the history a snapshot is one of version 1, and an import brings only the records", async () => {
  await using first = await changed();
  const plain = await textOf(first, { history: false });
  assert.match(plain, /^\{"format":"unibus-membership-snapshot","version":1\}\n/);
  await using old = openSqlite(":memory:", { history: false });
  await importSnapshot(old, exportSnapshot(first));
  assert.equal(await textOf(old), plain);
  await using second = openSqlite(":memory:");
  await importSnapshot(second, exportSnapshot(first), { history: false });
  assert.deepEqual((await walk(second)).map(({ entry }) => entry.action), ["store.restored"]);
  assert.equal(await textOf(second, { history: false }), plain);
});

Deno.test("a store that has a history keeps its own when a snapshot replaces its records", async () => {
  await using first = await changed();
  await using second = await changed(2);
  const before = await walk(second);
  await importSnapshot(second, exportSnapshot(first), { replace: true });
  const after = await walk(second);
  assert.deepEqual(after.slice(0, -1), before);
  assert.equal(after.at(-1)!.entry.action, "store.restored");
});

Deno.test("a pruned history continues where it was cut, in the copy as in the store", async () => {
  await using first = await changed();
  assert.equal(await first.pruneHistory({ keep: 3 }), 5);
  await using second = openSqlite(":memory:");
  await importSnapshot(second, exportSnapshot(first));
  assert.deepEqual(await switchOf(second).history!.start(), await switchOf(first).history!.start());
  assert.deepEqual((await walk(second)).slice(0, -1), await walk(first));
  await assert.rejects(second.history({ after: "0.1" }), { code: "too_old" });
});

Deno.test("the history of a snapshot ends with the records, although others write meanwhile", async () => {
  await inDir(async (dir) => {
    await using store = openSqlite(`${dir}/store.db`);
    for (let i = 0; i < 300; i++) await store.addUser(newUser());
    let going = true;
    const writing = (async () => {
      for (; going; await setImmediate()) await store.addUser(newUser());
    })();
    try {
      for (let i = 0; i < 5; i++) {
        const text = await textOf(store);
        const of = (kind: string) =>
          text.split("\n").filter((it) => it.startsWith(`{"kind":"${kind}",`))
            .map((it) => JSON.parse(it));
        const users = of("users").map((it) => it.signPub).sort();
        const added = (of("history") as HistoryEntry[]).map((it) => it.user).sort();
        assert.deepEqual(added, users);
      }
    } finally {
      going = false;
      await writing;
    }
  });
});

Deno.test("a damaged history is found, whatever the damage, and nothing is written", async () => {
  await using first = await changed(3);
  const text = await textOf(first);
  const lines = text.split("\n").slice(0, -1);
  const join = (some: string[]) => some.map((it) => it + "\n").join("");
  const from = lines.findIndex((it) => it.includes('"kind":"history_start"'));
  const damages: [string, string][] = [];
  for (let at = from; at < lines.length; at++) {
    damages.push([`line ${at + 1} gone`, join(lines.toSpliced(at, 1))]);
    damages.push([`line ${at + 1} twice`, join(lines.toSpliced(at, 0, lines[at]!))]);
    for (const field of ["at", "by", "user", "head"]) {
      const found = lines[at]!.match(`"${field}":"[^"]*([0-9])`);
      if (found === null) continue;
      const end = found.index! + found[0].length;
      const digit = (Number(found[1]) + 1) % 10;
      const changed = lines[at]!.slice(0, end - 1) + digit + lines[at]!.slice(end);
      damages.push([`${field} of line ${at + 1}`, join(lines.with(at, changed))]);
    }
  }
  damages.push([
    "two swapped",
    join(lines.with(from + 1, lines[from + 2]!).with(from + 2, lines[from + 1]!)),
  ]);
  damages.push(["all gone", join([...lines.slice(0, from), lines.at(-1)!])]);
  damages.push(["as version 1", text.replace('"version":2', '"version":1')]);
  assert.ok(damages.length > 30);
  for (const [what, damaged] of damages) {
    const isCorrupt = (error: unknown) => isStoreError(error, "corrupt");
    await assert.rejects(verifySnapshot(damaged), isCorrupt, what);
    await using store = openSqlite(":memory:");
    await assert.rejects(importSnapshot(store, damaged), isCorrupt, what);
    assert.deepEqual(await walk(store), [], what);
    assert.deepEqual(await Array.fromAsync(store.records()), [], what);
  }
});

Deno.test("the snapshot that the first program with a history wrote reads as it was", async () => {
  const fixture = await Deno.readTextFile(
    new URL("../fixtures/snapshot-v2.ndjson", import.meta.url),
  );
  const { version, history } = await verifySnapshot(fixture);
  assert.deepEqual([version, history?.count], [2, 2]);
  await using store = openSqlite(":memory:");
  await importSnapshot(store, fixture);
  const { items } = await store.history();
  assert.deepEqual(items.map((it) => `${it.revision} ${it.by} ${it.action}`), [
    "0.1 cli:ada@n1 store.restored",
    "0.2 cli:ada@n1 user.restored",
    "0.3 library store.restored",
  ]);
});

Deno.test("a bucket takes the records of a snapshot with a history, and nothing of a damaged one", async () => {
  await using server = await testServer();
  await using first = await changed();
  const text = await textOf(first);
  await using store = await openJetStream({ servers: server.url });
  const damaged = text.replace(/("kind":"history","revision":"0.)8/, "$19");
  assert.notEqual(damaged, text);
  await assert.rejects(importSnapshot(store, damaged), (e) => isStoreError(e, "corrupt"));
  assert.deepEqual(await Array.fromAsync(store.records()), []);
  await importSnapshot(store, text);
  assert.equal(await textOf(store, { history: false }), await textOf(first, { history: false }));
  const { items } = await store.history();
  assert.deepEqual(items.map((it) => it.action), ["store.restored"]);
});

Deno.test("a snapshot of a bucket has the history up to the records, as that of a file", async () => {
  await using server = await testServer();
  await using store = await openJetStream({ servers: server.url });
  let going = true;
  const writing = (async () => {
    while (going) await store.addUser(newUser());
  })();
  try {
    for (let i = 0; i < 5; i++) {
      await setTimeout(50);
      const text = await textOf(store);
      const of = (kind: string) =>
        text.split("\n").filter((it) => it.startsWith(`{"kind":"${kind}",`))
          .map((it) => JSON.parse(it));
      const users = of("users").map((it) => it.signPub).sort();
      assert.deepEqual((of("history") as HistoryEntry[]).map((it) => it.user).sort(), users);
    }
  } finally {
    going = false;
    await writing;
  }
});
