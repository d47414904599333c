/**
 * Runs trials by a seed and counts what came of them.
 *
 * @module
 */

import { mkdir } from "node:fs/promises";
import { Random } from "../../tools/random.ts";
import { clusterTrials } from "./cluster.ts";
import { fileTrials } from "./file.ts";
import type { Noticed, Outcome } from "./judge.ts";
import { type Trial, TRIALS } from "./trials.ts";
import { makeWorld, type World } from "./world.ts";

/** What to run. */
export interface RunOptions {
  /** Where worlds are kept. */
  folder: string;
  /** The same seed does the same damage. */
  seed: string;
  /** How many trials of which kind. */
  counts: Record<string, number>;
  /** Users of each world; trials take turns. */
  users: number[];
  /** Trials at once. */
  atOnce: number;
  /** Takes a line of text for each trial. */
  log: (line: string) => void;
}

/** What came of one trial. */
export interface Result extends Outcome {
  /** Its kind. */
  kind: string;
  /** Milliseconds. */
  ms: number;
}

/** How many trials of each kind there are for so many flips. */
function countsFor(flips: number): Record<string, number> {
  const part = (share: number) => Math.ceil(flips * share);
  return {
    flip: part(0.5),
    flip_no_index: part(0.5),
    file: part(1),
    one_of_three: part(0.5),
    tail: part(0.05),
    tail_index: part(0.05),
    put_back: part(0.1),
    made_again: part(0.1),
    live_flip: part(0.2),
    live_put_back: part(0.05),
    live_file: part(0.15),
  };
}

/** Reads `flip=100,put_back=20`; without it, all kinds. */
export function parseCounts(only: string | undefined, flips: number): Record<string, number> {
  const all = countsFor(flips);
  if (only === undefined) return all;
  return Object.fromEntries(
    only.split(",").map((it) => {
      const [kind, count] = it.split("=");
      if (!(kind! in all)) throw new Error(`No kind ${kind}; there are ${Object.keys(all)}`);
      return [kind!, count === undefined ? all[kind!]! : Number(count)];
    }),
  );
}

/** Runs all trials. */
export async function run(options: RunOptions): Promise<Result[]> {
  const { folder, seed, counts, users, atOnce, log } = options;
  const worlds: World[] = [];
  for (const count of users) {
    await mkdir(`${folder}/${count}`);
    worlds.push(await makeWorld(`${folder}/${count}`, count));
  }
  log(`seed ${seed}; worlds of ${users} users`);
  const results: Result[] = [];
  const add = (kind: string, i: number, damage: string, began: number, outcome: Outcome) => {
    const result = { ...outcome, kind, ms: Math.round(performance.now() - began) };
    results.push(result);
    const { letIn, noticed, changed, detail, ms } = result;
    const isBad = letIn > 0 || noticed === "MISSED" ? "!!! " : "";
    log(
      `${isBad}${kind} ${i} ${damage}: ${noticed}, ${letIn} let in, ${changed} changed, ${ms} ms, ${detail}`,
    );
  };
  const jobs = Object.entries(counts).filter(([kind]) => kind in TRIALS).flatMap(([kind, count]) =>
    Array.from({ length: count }, (_, i) => async () => {
      const world = worlds[i % worlds.length]!;
      const random = new Random(`${seed} ${kind} ${i}`);
      let damage = "";
      const began = performance.now();
      const trial: Trial = TRIALS[kind]!;
      // A busy machine may be too slow to open a store before the damage.
      const attempt = () => trial(world, random, (text) => damage = text);
      const outcome = await attempt().catch((error) => {
        log(`${kind} ${i} again: ${error.message}`);
        return attempt();
      });
      add(kind, i, damage, began, outcome);
    })
  );
  const work = async () => {
    for (let job = jobs.shift(); job !== undefined; job = jobs.shift()) await job();
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  await fileTrials(worlds[0]!, counts.file ?? 0, seed, add);
  await clusterTrials(counts.one_of_three ?? 0, seed, add);
  return results;
}

const COLUMNS: Noticed[] = ["before", "closed", "minute", "nothing", "MISSED"];

/** A table of counts. */
export function show(results: Result[]): string {
  const kinds = [...new Set(results.map(({ kind }) => kind))];
  const rows = kinds.map((kind) => {
    const of = results.filter((it) => it.kind === kind);
    const counts = COLUMNS.map((column) => of.filter((it) => it.noticed === column).length);
    const letIn = of.filter((it) => it.letIn > 0).length;
    return [kind, of.length, ...counts, letIn];
  });
  const head = ["kind", "trials", "before first yes", "server closed", "within a minute"];
  return [[...head, "nothing changed", "MISSED", "let somebody in"], ...rows]
    .map((row) => row.join("\t")).join("\n");
}
