/**
 * Single flips in a follower's file: what it says of a stream that is right, and whether it can still be
 * promoted although its records are others.
 *
 * @module
 */

import { cp, mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { isStoreError } from "../../../mod.ts";
import { openStill, requireComplete } from "../../../src/follower/flip.ts";
import { testServer } from "../../helpers/nats.ts";
import { Random } from "../../tools/random.ts";
import { flipIn } from "./damage.ts";
import { judge, type Outcome } from "./judge.ts";
import type { World } from "./world.ts";

const TABLES = ["users", "rooms", "members", "room_keys", "invites"];

/** Flips a bit of a copy of the file for each trial; half are followed with, half are promoted. */
export async function fileTrials(
  world: World,
  count: number,
  seed: string,
  add: (kind: string, i: number, damage: string, began: number, outcome: Outcome) => void,
): Promise<void> {
  if (count === 0) return;
  const folder = await mkdtemp(join(tmpdir(), "unibus-bits-"));
  await cp(`${world.folder}/store`, `${folder}/store`, { recursive: true });
  const server = await testServer({ jetstream: { storeDir: `${folder}/store` } });
  try {
    const before = recordsOf(`${world.folder}/follower.db`);
    for (let i = 0; i < count; i++) {
      const began = performance.now();
      const random = new Random(`${seed} file ${i}`);
      const file = `${folder}/${i}.db`;
      await cp(`${world.folder}/follower.db`, file);
      const at = random.integer(0, (await stat(file)).size - 1);
      await flipIn(file, at, random.integer(0, 7));
      const changed = recordsOf(file) !== before;
      const promoted = i % 2 === 0;
      const outcome = promoted
        ? promote(file, changed)
        : await judge(world, server.url, file, false);
      add(promoted ? "file_promoted" : "file_followed", i, `byte ${at}`, began, outcome);
      for (const end of ["", "-wal", "-shm", ".follower-lock"]) {
        await rm(file + end, { force: true });
      }
    }
  } finally {
    await server[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  }
}

/** What the checks before a promotion say. */
function promote(path: string, isChanged: boolean): Outcome {
  const changed = Number(isChanged);
  try {
    using file = openStill(path);
    requireComplete(file);
    return { noticed: isChanged ? "MISSED" : "nothing", letIn: 0, changed, detail: "" };
  } catch (error) {
    if (!isStoreError(error)) throw error;
    return { noticed: "before", letIn: 0, changed, detail: error.message };
  }
}

/** All records of a file, as text; that of one that cannot be read is another. */
function recordsOf(path: string): string {
  try {
    using db = new DatabaseSync(path, { readOnly: true });
    return JSON.stringify(TABLES.map((it) => db.prepare(`SELECT * FROM ${it}`).all()));
  } catch {
    return "";
  }
}
