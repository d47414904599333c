/**
 * Chaos: load on three nodes while they are killed, paused and cut off, and whether every promise was
 * kept.
 *
 * @module
 */

import { mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { Command } from "@commander-js/extra-typings";
import { check, show } from "./judge/checks.ts";
import { BREAKS } from "./breaks.ts";
import { FAULTS } from "./faults.ts";
import { readHistory } from "./judge/history.ts";
import { HTTP_FAULTS, httpArena } from "./arena/http_arena.ts";
import { type Arena, run } from "./run.ts";
import { storeArena } from "./arena/store_arena.ts";

const program = new Command("chaos")
  .description("Load and faults on three nodes, and whether every promise was kept")
  .option("--minutes <m>", "how long", "2")
  .option("--seed <s>", "begins with this seed; each round adds one", String(Date.now() % 1e6))
  .option("--faults <list>", `which: ${Object.keys(FAULTS).join(",")}`)
  .option(
    "--http",
    `three membershipd, over HTTP; its faults: ${Object.keys(HTTP_FAULTS).join(",")}`,
  )
  .option("--round <seconds>", "how long the faults of one round last", "60")
  .option("--replay <file>", "checks a recorded run again, and does nothing else")
  .option("--break <name>", `breaks a promise on purpose: ${Object.keys(BREAKS).join(",")}`)
  .option("--dir <path>", "where histories are written", join(tmpdir(), "unibus-chaos"))
  .option("--keep", "keep the histories of good rounds too")
  .option("--json", "one JSON document a round on stdout");
// `deno task test:chaos -- --seed 1` hands the `--` on as well.
program.parse(Deno.args.filter((it) => it !== "--"), { from: "user" });
const options = program.opts();
const say = (line: string) => console.error(line);

function unknown(what: string, name: string): never {
  say(`No ${what} ${name}`);
  process.exit(2);
}

if (options.replay !== undefined) {
  const report = check(readHistory(options.replay));
  if (options.json) console.log(JSON.stringify(report));
  for (const it of report.violations) say(show(it));
  say(`${report.violations.length} violations; ${JSON.stringify(report.looked)}`);
  process.exit(report.violations.length === 0 ? 0 : 1);
}

const faults = options.faults?.split(",");
const known = options.http ? HTTP_FAULTS : FAULTS;
for (const it of faults ?? []) if (!(it in known)) unknown("fault", it);
if (options.break !== undefined && !(options.break in BREAKS)) unknown("break", options.break);
mkdirSync(options.dir, { recursive: true });
let arena: Promise<Arena> | undefined;
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  // Nothing that is paused may stay behind.
  process.once(signal, () => {
    const gone = arena?.then((it) => it[Symbol.asyncDispose]()) ?? Promise.resolve();
    void gone.finally(() => process.exit(130));
  });
}
let failed = false;
let rounds = 0;
say(`seed ${options.seed}`);
for await (
  const report of run({
    seed: Number(options.seed),
    duration: Number(options.minutes) * 60_000,
    round: Number(options.round) * 1000,
    directory: options.dir,
    log: say,
    arena: () => arena = options.http ? httpArena(faults, say) : storeArena(faults, say),
    ...(faults && { faults }),
    ...(options.break !== undefined && { broken: options.break }),
    keep: options.keep === true,
  })
) {
  rounds++;
  const { violations, looked, seed, round, seconds } = report;
  if (options.json) console.log(JSON.stringify(report));
  say(
    `round ${round} (seed ${seed}): ${violations.length === 0 ? "good" : "BAD"}, ` +
      `${seconds.toFixed(0)} s, ${report.faults.join(" ")}, ${JSON.stringify(looked)}`,
  );
  if (violations.length === 0) continue;
  failed = true;
  for (const it of violations) say(show(it));
  say(`To look at it again: --replay ${report.file}`);
  say(`To run it again: --seed ${seed} --minutes ${options.minutes}`);
}
say(`${rounds} rounds`);
process.exit(failed ? 1 : 0);
