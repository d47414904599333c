/** A verification finds nothing in an honest history, and says what it compared. */

import assert from "node:assert/strict";
import { openSqlite, parseHeads, verifyHistory } from "../../mod.ts";
import { sourceOf } from "../../src/core/history/source.ts";
import { switchOf } from "../../src/core/store/switching.ts";
import { continueChain, signedEnd } from "../../src/history/continue.ts";
import { isSigned, nodeName, signHead } from "../../src/history/heads.ts";
import { createNkey, signPubOf } from "../../src/keys/nkey.ts";
import { failsWith, inDir } from "../helpers/sqlite.ts";
import { change, keptFile, raw, signAs } from "./kit.ts";

Deno.test("an honest history has no problem, pruned, signed and kept", () =>
  inDir(async (dir) => {
    const { path, signer, kept, revisions } = await keptFile(`${dir}/a.db`);
    await using store = openSqlite(path, { readOnly: true });
    const report = await verifyHistory(store, { kept: [kept], keys: [signer] });
    assert.deepEqual(report.problems, []);
    assert.equal(report.entries, revisions.length);
    assert.equal(report.end.revision, revisions.at(-1));
    assert.equal(report.end.head, kept.head);
    assert.notEqual(report.start.revision, null);
    assert.deepEqual(
      report.witnesses.map(({ node, from, found }) => [node, from, found]),
      [["n1", "kept", "equal"], ["n1", "stored", "equal"], ["n2", "stored", "equal"]],
    );
    // Part of it: the newer head is in it, the older one is not.
    const part = await verifyHistory(store, { keys: [signer], last: 5 });
    assert.deepEqual([part.entries, part.problems], [5, []]);
    assert.deepEqual(part.witnesses.map((it) => it.found), ["equal", null]);
    const all = await verifyHistory(store, { last: 10_000 });
    assert.equal(all.entries, revisions.length);
    // With a copy, also one that begins later and ends earlier.
    await using other = openSqlite(`${dir}/b.db`);
    await change(other, 0, 1);
    const copy = sourceOf(switchOf(store).current);
    assert.deepEqual((await verifyHistory(store, { copy })).problems, []);
  }));

Deno.test("a history that was never written to, or is pruned to the last entry, has no problem", () =>
  inDir(async (dir) => {
    await using store = openSqlite(`${dir}/a.db`);
    const none = await verifyHistory(store);
    assert.deepEqual([none.entries, none.problems, none.end.revision], [0, [], null]);
    await change(store, 0, 3);
    const head = await signAs(store, "n1", createNkey("user"));
    // Up to the signed one, then further.
    for (const found of ["equal", "pruned"]) {
      await store.pruneHistory({ keep: 1 });
      if (found === "equal") await store.pruneHistory({ keep: 1 });
      const { problems, witnesses } = await verifyHistory(store, { kept: [head] });
      assert.deepEqual(problems, []);
      assert.deepEqual(witnesses.map((it) => it.found), [found, found]);
    }
  }));

Deno.test("verification during writes and prunings finds nothing", () =>
  inDir(async (dir) => {
    await using store = openSqlite(`${dir}/a.db`);
    const key = createNkey("user");
    await change(store, 0, 300);
    const writing = (async () => {
      for (let i = 0; i < 20; i++) {
        await change(store, 300 + i, 1);
        await store.pruneHistory({ keep: 700 - 10 * i });
        await signAs(store, `n${i % 3}`, key);
      }
    })();
    for (let i = 0; i < 5; i++) {
      assert.deepEqual((await verifyHistory(store)).problems, []);
    }
    await writing;
    assert.deepEqual((await verifyHistory(store)).problems, []);
  }));

Deno.test("a history without entries is not verified: the store says that it keeps none", () =>
  inDir(async (dir) => {
    await using store = openSqlite(`${dir}/a.db`, { history: false });
    await failsWith("unsupported", () => verifyHistory(store));
  }));

Deno.test("the chain is continued from the newest head of our key, and from nothing that was changed", () =>
  inDir(async (dir) => {
    const { path, key, signer } = await keptFile(`${dir}/a.db`);
    {
      await using store = openSqlite(path);
      const source = sourceOf(switchOf(store).current);
      const first = await source.head();
      await change(store, 30, 4);
      const end = await source.head();
      assert.deepEqual(await signedEnd(source, signer), end);
      assert.deepEqual(await continueChain(source, first), end);
      assert.deepEqual(await continueChain(source, end), end);
      assert.deepEqual(await signedEnd(source, signPubOf(createNkey("user").publicKey)), end);
      // What was signed has been pruned meanwhile.
      await store.pruneHistory({ keep: 1 });
      assert.deepEqual(await continueChain(source, first), await source.head());
      await signAs(store, "n1", key);
      await change(store, 40, 2);
    }
    raw(path, (db) => db.exec("UPDATE history SET by = 'eve' WHERE action = 'user.added'"));
    {
      await using store = openSqlite(path);
      const source = sourceOf(switchOf(store).current);
      await failsWith("mismatch", () => signedEnd(source, signer), /does not continue/);
      await signAs(store, "n1", key);
    }
    raw(
      path,
      (db) => db.exec("DELETE FROM history WHERE number > (SELECT max(number) - 1 FROM history)"),
    );
    await using store = openSqlite(path);
    const source = sourceOf(switchOf(store).current);
    await failsWith("mismatch", () => signedEnd(source, signer), /is missing/);
  }));

Deno.test("a head is signed for its node, revision, head and time, and parsed only if it is", () => {
  const key = createNkey("user");
  const end = { revision: "3.17", head: "ab".repeat(32) };
  const head = signHead(end, { node: "n1", at: "2026-01-01T00:00:00.000Z", key });
  assert.ok(isSigned(head));
  const other = signPubOf(createNkey("user").publicKey)!;
  for (
    const change of [
      { node: "n2" },
      { revision: "3.18" },
      { revision: null },
      { head: "ac".repeat(32) },
      { at: "2026-01-01T00:00:00.001Z" },
      { key: other },
      { signature: head.signature.slice(0, -1) },
      { signature: `${head.signature[0] === "A" ? "B" : "A"}${head.signature.slice(1)}` },
    ]
  ) assert.ok(!isSigned({ ...head, ...change }), JSON.stringify(change));
  const line = JSON.stringify(head);
  assert.deepEqual(parseHeads(`${line}\n\n${line}\n`), [head, head]);
  const unsigned = { ...head, key: null, signature: null };
  assert.deepEqual(parseHeads(JSON.stringify(unsigned)), [unsigned]);
  for (
    const text of [
      "",
      "\n",
      "null",
      "{}",
      "[]",
      line.slice(1),
      `${line}\n{}`,
      JSON.stringify({ ...head, revision: "x" }),
      JSON.stringify({ ...head, revision: null }),
      JSON.stringify({ ...head, at: "now" }),
      JSON.stringify({ ...head, head: "" }),
      JSON.stringify({ ...head, node: "n2" }),
      JSON.stringify({ ...head, key: null }),
      JSON.stringify({ ...head, signature: null }),
      JSON.stringify({ ...head, key: undefined, signature: undefined }),
    ]
  ) assert.throws(() => parseHeads(text), { code: "invalid" }, text);
  for (const node of ["", "a b", "a\n", "x".repeat(65)]) {
    assert.throws(() => signHead(end, { node, at: head.at, key }), { code: "refused" }, node);
  }
  assert.throws(() => signHead({ ...end, revision: null }, { node: "n1", at: head.at, key }), {
    code: "refused",
  });
  assert.equal(nodeName("läptop.example org"), "l-ptop.example-org");
  assert.equal(nodeName("x".repeat(80)).length, 64);
  assert.equal(nodeName(""), "node");
});
