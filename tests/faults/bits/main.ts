/**
 * Bits: damages below a control plane with a follower, and whether each is noticed before anybody is
 * let in who must not be.
 *
 * @module
 */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { Command } from "@commander-js/extra-typings";
import { parseCounts, run, show } from "./run.ts";

const program = new Command("bits")
  .description("Flips bits, cuts and replaces disks below a control plane with a follower")
  .option("--flips <n>", "single flips on a lone server; the other damages in proportion", "200")
  .option("--seed <s>", "the same seed does the same damage", String(Date.now() % 1e6))
  .option("--only <kinds>", "such as flip=100,put_back=20, instead of all")
  .option("--users <n>", "users in the large world", "30000")
  .option("--at-once <n>", "trials at once", "2");
program.parse(Deno.args.filter((it) => it !== "--"), { from: "user" });
const { flips, seed, only, users, atOnce } = program.opts();
const folder = await mkdtemp(join(tmpdir(), "unibus-bits-worlds-"));
let good = false;
try {
  const report = await run({
    folder,
    seed,
    counts: parseCounts(only, Number(flips)),
    users: [300, Number(users)],
    atOnce: Number(atOnce),
    log: (line) => console.error(line),
  });
  console.log(show(report));
  good = report.every(({ letIn, noticed }) => letIn === 0 && noticed !== "MISSED");
} finally {
  await rm(folder, { recursive: true });
}
process.exit(good ? 0 : 1);
