/**
 * Single flips in a follower's file while it is followed with: whether the follower tells of them.
 *
 * @module
 */

import { cp, open, stat } from "node:fs/promises";
import { isStoreError, type StoreError } from "../../../mod.ts";
import { openStill, requireComplete } from "../../../src/follower/flip.ts";
import { openFollowed } from "../../../src/follower/open.ts";
import type { Random } from "../../tools/random.ts";
import { Asking, type Outcome, sample } from "./judge.ts";
import type { World } from "./world.ts";

const MINUTE = 60_000;

/** Opens a store, flips a bit of its follower's file, and waits for a minute until that is told. */
export async function flipWhileFollowed(
  world: World,
  servers: string,
  path: string,
  random: Random,
  note: (damage: string) => void,
): Promise<Outcome> {
  const { promise: told, resolve } = Promise.withResolvers<StoreError>();
  const { store, follower } = await openFollowed({
    servers,
    follower: path,
    onAlarm: resolve,
    onDegraded: (error) => error !== null && resolve(error),
  });
  const { bad, good } = sample(world, null, 300);
  const asking = new Asking(store, bad, good);
  let found: StoreError | null = null;
  let began = 0;
  try {
    await follower.whenExact();
    const at = random.integer(0, (await stat(path)).size - 1);
    await flipInPlace(path, at, random.integer(0, 7));
    note(`byte ${at} while it is followed with`);
    began = performance.now();
    // Of a page that is free, or newer in the log of writes, nothing is read.
    const patience = await damageOfCopy(path) === null ? 1000 : MINUTE;
    const timer = Promise.withResolvers<null>();
    const timeout = setTimeout(() => timer.resolve(null), patience);
    found = await Promise.race([told, timer.promise]);
    clearTimeout(timeout);
  } finally {
    await asking.end();
    await store.close();
  }
  const letIn = asking.letIn.size;
  if (found !== null) {
    const detail = `${Math.round(performance.now() - began)} ms: ${found.message}`;
    return { noticed: "minute", letIn, changed: 1, detail };
  }
  // It may have been written over since.
  const left = damageOf(path);
  const noticed = left === null ? "nothing" : "MISSED";
  return { noticed, letIn, changed: Number(left !== null), detail: left ?? "" };
}

/** Flips one bit of a file that others have open. */
async function flipInPlace(path: string, at: number, bit: number): Promise<void> {
  await using file = await open(path, "r+");
  const byte = new Uint8Array(1);
  await file.read(byte, 0, 1, at);
  byte[0]! ^= 1 << bit;
  await file.write(byte, 0, 1, at);
}

async function damageOfCopy(path: string): Promise<string | null> {
  const copy = `${path}.copy`;
  await cp(path, copy);
  // It goes with the follower, which may have found it already.
  await cp(`${path}-wal`, `${copy}-wal`).catch(() => {});
  return damageOf(copy);
}

/** What the checks before a promotion find. */
function damageOf(path: string): string | null {
  try {
    using file = openStill(path);
    requireComplete(file);
    return null;
  } catch (error) {
    if (!isStoreError(error)) throw error;
    return error.message;
  }
}
