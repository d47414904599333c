/** What a program knows of others, kept over a restart. */

import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import {
  cardOf,
  fileMemory,
  isSealingError,
  isStoreError,
  type StoreErrorCode,
} from "../../../src/client/mod.ts";
import { village } from "../rooms/village.ts";

async function inDir(work: (dir: string) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "unibus-memory-"));
  await work(dir).finally(() => rm(dir, { recursive: true }));
}

Deno.test("who restarts with its memory notices an epoch that was taken back, who forgot does not", () =>
  inDir(async (dir) => {
    await using it = await village();
    const [ada, bob] = [await it.person(), await it.person()];
    const room = await (await ada.rooms()).createRoom({
      id: "kitchen",
      members: [cardOf(bob.identity)],
    });
    await room.rekey();
    const path = join(dir, "known.json");
    const rooms = await bob.rooms({ memory: fileMemory(path) });
    await rooms.join("kitchen");
    await rooms.close();
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    bob.lie(({ path }, answer) => path.endsWith("/kitchen") ? { ...answer, epoch: 1 } : answer);
    const again = await bob.rooms({ memory: fileMemory(path) });
    await assert.rejects(again.join("kitchen"), (error) => isSealingError(error, "rolled_back"));
    const forgetful = await bob.rooms({ memory: new Map() });
    assert.equal((await forgetful.join("kitchen")).epoch, 1);
  }));

Deno.test("anything is kept as it was, in a file that is whole at any time", () =>
  inDir(async (dir) => {
    const path = join(dir, "known.json");
    await fc.assert(
      fc.asyncProperty(fc.dictionary(fc.string(), fc.string()), async (entries) => {
        await rm(path, { force: true });
        const one = fileMemory(path);
        for (const [key, value] of Object.entries(entries)) await one.set(key, value);
        const two = fileMemory(path);
        for (const [key, value] of Object.entries(entries)) assert.equal(await two.get(key), value);
        assert.equal(await two.get("epoch nowhere"), undefined);
      }),
      { numRuns: 50 },
    );
    assert.ok((await readdir(dir)).every((it) => it === "known.json"));
  }));

Deno.test("a file that is damaged, newer or something else is named, and left alone", () =>
  inDir(async (dir) => {
    const path = join(dir, "known.json");
    const odd: [string, StoreErrorCode][] = [
      ["", "corrupt"],
      ["{", "corrupt"],
      ["null", "corrupt"],
      ["{}", "corrupt"],
      [`{"format":"unibus-memory","version":1,"known":{"a":1}}`, "corrupt"],
      [`{"format":"unibus-memory","version":2,"known":{}}`, "unsupported"],
    ];
    for (const [text, code] of odd) {
      await writeFile(path, text);
      assert.throws(() => fileMemory(path), (error) => isStoreError(error, code), text);
      assert.equal(await readFile(path, "utf8"), text);
    }
    assert.throws(() => fileMemory(dir), (error) => isStoreError(error, "unavailable"));
    const nowhere = fileMemory(join(dir, "no", "such", "file"));
    await assert.rejects(
      async () => await nowhere.set("a", "b"),
      (error) => isStoreError(error, "unavailable"),
    );
  }));
