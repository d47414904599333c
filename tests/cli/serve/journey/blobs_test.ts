/**
 * The blobs of a journey: copied while they are in use, held for a switch, and switched.
 *
 * @module
 */

import assert from "node:assert/strict";
import { copyAll, holdBlobs, switchBlobs } from "../../../../cli/serve/journey/blobs.ts";
import type { Trip, World } from "../../../../cli/serve/journey/types.ts";
import { type BlobStore, openDiskBlobs } from "../../../../src/blobs/mod.ts";
import { pause } from "../../../../src/core/async/wait.ts";
import { SwitchingBlobs } from "../../../../src/blobs/switch/switching.ts";
import { StoreError } from "../../../../src/core/errors.ts";
import { owner, putBy } from "../../../blobs/holders.ts";
import { bytesOf, idOf } from "../../../blobs/kit.ts";
import { failsWith, inDir } from "../../../helpers/sqlite.ts";

const by = owner();

/** Blobs in a directory, and others that they go to, whose `put` the test can let fail. */
async function bed(
  work: (at: {
    world: World;
    trip: Trip;
    blobs: SwitchingBlobs;
    /** Where they go. */
    to: BlobStore;
    /** What the next puts there reject with. */
    failures: Error[];
    done: (number | undefined)[];
    logged: unknown[];
  }) => Promise<void>,
): Promise<void> {
  await inDir(async (dir) => {
    await using blobs = new SwitchingBlobs(await openDiskBlobs(`${dir}/from`));
    await using second = await openDiskBlobs(`${dir}/to`);
    const failures: Error[] = [];
    const to = new Proxy(second, {
      get(target, name) {
        const found = Reflect.get(target, name);
        if (name !== "put") return typeof found === "function" ? found.bind(target) : found;
        return (...of: Parameters<BlobStore["put"]>) => {
          const failure = failures.shift();
          return failure === undefined ? target.put(...of) : Promise.reject(failure);
        };
      },
    });
    const logged: unknown[] = [];
    const done: (number | undefined)[] = [];
    const around = { log: (...of: unknown[]) => void logged.push(of) };
    const world = { storage: { blobs }, around } as unknown as World;
    const trip = {
      signal: new AbortController().signal,
      begin: (phase: string) => assert.equal(phase, "blobs"),
      tell: (now: { done?: number }) => void done.push(now.done),
    } as unknown as Trip;
    await work({ world, trip, blobs, to, failures, done, logged });
  });
}

const unavailable = () => new StoreError("unavailable", "A replica is behind");

Deno.test("a copy of blobs that a replica ended is made again, one that cannot succeed is not", () =>
  bed(async ({ world, trip, blobs, to, failures, done }) => {
    const { id } = await putBy(blobs, bytesOf(1000), by);
    failures.push(new StoreError("corrupt", "Damaged"));
    await failsWith("corrupt", () => copyAll(world, to, trip));
    failures.push(unavailable());
    await copyAll(world, to, trip);
    assert.equal((await to.stat(id))!.size, 1000);
    assert.deepEqual(done, [1]);
    // From now on each change is made there too.
    const { id: later } = await putBy(blobs, bytesOf(10), by);
    assert.ok(await to.stat(later) !== null);
  }));

Deno.test("changes of blobs wait for a switch; they go on if it takes long, or what is owed cannot be copied", () =>
  bed(async ({ world, trip, blobs, to, failures, logged }) => {
    const mirror = await copyAll(world, to, trip);
    const timers: (() => void)[] = [];
    const { setTimeout } = globalThis;
    const later = (call: () => void, ms?: number) =>
      ms === 3000 ? timers.push(call) : setTimeout(call, ms);
    globalThis.setTimeout = later as typeof setTimeout;
    using _ = { [Symbol.dispose]: () => void (globalThis.setTimeout = setTimeout) };
    failures.push(unavailable(), unavailable());
    const owed = bytesOf(100);
    await putBy(blobs, owed, by);
    assert.deepEqual([...mirror.owed], [idOf(owed)]);
    await failsWith("unavailable", () => holdBlobs(world, mirror), /the last changed blobs failed/);
    // At once, and it is found where it was stored.
    await putBy(blobs, bytesOf(20), by);
    await holdBlobs(world, mirror);
    assert.deepEqual([...mirror.owed], []);
    assert.ok(await to.stat(idOf(owed)) !== null);
    let isOver = false;
    const waiting = putBy(blobs, bytesOf(30), by).finally(() => isOver = true);
    await pause(200);
    assert.equal(isOver, false);
    // Nobody ends the hold: it ends by itself.
    for (const end of timers) end();
    assert.ok(await to.stat((await waiting).id) !== null);

    failures.push(unavailable(), unavailable());
    const left = bytesOf(40);
    await putBy(blobs, left, by);
    await switchBlobs(world, mirror);
    assert.equal(blobs.current, to);
    const [level, event, { ids }] = logged[0] as [string, string, { ids: string[] }];
    assert.deepEqual([logged.length, level, event, ids], [
      1,
      "error",
      "blobs.left",
      [idOf(left)],
    ]);
    const { id } = await putBy(blobs, bytesOf(50), by);
    assert.ok(await to.stat(id) !== null);
  }));
