/**
 * Kills, stops and cuts the processes of a live move of the library, many a minute.
 *
 * @module
 */

import process from "node:process";
import { Command } from "@commander-js/extra-typings";
import type { HitKind } from "./hits.ts";
import { run } from "./run.ts";

const program = new Command("journey-live")
  .description("Moves a store between a file and three servers under writes, and hits processes")
  .option("--kills <n>", "moves with a hit", "60")
  .option("--rounds <n>", "round trips without a hit, before them", "0")
  .option("--seed <s>", "the same seed draws the same hits", String(Date.now() % 1e6))
  .option("--minutes <m>", "stop after so many minutes")
  .option("--only <kind>", "hits of one kind: kill, stop, cut or disk");
program.parse(Deno.args.filter((it) => it !== "--"), { from: "user" });
const { kills, rounds, seed, minutes, only } = program.opts();
const kinds = only === undefined
  ? [[88, "kill"], [4, "stop"], [4, "cut"], [4, "disk"]] as const
  : [[1, only as HitKind]] as const;
console.error(`seed ${seed}`);
try {
  const report = await run({
    ...{ kills: Number(kills), rounds: Number(rounds), seed, kinds },
    ...minutes === undefined ? {} : { until: Date.now() + Number(minutes) * 60_000 },
    log: (line) => console.error(line),
  });
  console.log(JSON.stringify(report));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
process.exit();
