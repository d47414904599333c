/**
 * Kills, stops and cuts machines while a control plane grows to three nodes and shrinks back.
 *
 * @module
 */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { Command } from "@commander-js/extra-typings";
import { run } from "./run.ts";

const program = new Command("journey")
  .description(
    "Moves a control plane to three nodes and back under writes, and hits machines on the way",
  )
  .option("--kills <n>", "moves with a hit", "20")
  .option("--rounds <n>", "round trips without a hit, before them", "0")
  .option("--seed <s>", "the same seed draws the same hits", String(Date.now() % 1e6))
  .option("--users <n>", "users in the file at first", "2000")
  .option("--rate <n>", "writes and as many reads a second", "30");
program.parse(Deno.args.filter((it) => it !== "--"), { from: "user" });
const { kills, rounds, seed, users, rate } = program.opts();
const dir = await mkdtemp(join(tmpdir(), "unibus-journey-"));
console.error(`seed ${seed}`);
try {
  const report = await run({
    ...{ dir, seed, kills: Number(kills), rounds: Number(rounds) },
    ...{ users: Number(users), rate: Number(rate) },
    log: (line) => console.error(line),
  });
  console.log(JSON.stringify(report));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  await rm(dir, { recursive: true, force: true });
}
process.exit();
