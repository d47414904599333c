/**
 * `deno task test:soak -- --minutes M`: a mixed load for long, and whether the server stays as it is.
 *
 * @module
 */

import process from "node:process";
import { Command } from "@commander-js/extra-typings";
import { type Report, type Row, ROWS_TO_JUDGE, soak } from "./run.ts";

const program = new Command("soak")
  .description("A mixed load on one server, and whether memory, files and delays stay flat")
  .option("--minutes <m>", `how long; from ${ROWS_TO_JUDGE} on it is judged`, "60")
  .option("--rate <n>", "calls a second", "60")
  .option("--heap <mb>", "most heap the server may take; by default a part of the machine's memory")
  .option("--json", "the report as one JSON document on stdout");
// `deno task test:soak -- --minutes 1` hands the `--` on as well.
program.parse(Deno.args.filter((it) => it !== "--"), { from: "user" });
const options = program.opts();
const minutes = Number(options.minutes);
const rate = Number(options.rate);
const heap = options.heap === undefined ? undefined : Number(options.heap);
if (!(minutes >= 1 && rate > 0 && (heap ?? 16) >= 16)) {
  const found = [options.minutes, options.rate, options.heap ?? "none"].join(", ");
  console.error(`--minutes, --rate and --heap (16 at least) must be numbers, found ${found}`);
  process.exit(2);
}

const HEAD = "minute  calls/s  errors  RSS MB  heap MB  files  loop p50   p99    max ms  " +
  "nats MB  files  cores";

function lineOf(it: Row): string {
  const errors = Object.values(it.errors).reduce((sum, n) => sum + n, 0);
  const cells: [number, number, number][] = [
    [it.minute, 6, 0],
    [it.perSecond, 9, 1],
    [errors, 8, 0],
    [it.rss, 8, 1],
    [it.heap, 9, 1],
    [it.fds, 7, 0],
    [it.p50, 10, 2],
    [it.p99, 6, 1],
    [it.max, 10, 1],
    [it.natsRss, 9, 1],
    [it.natsFds, 7, 0],
    [it.cpu, 7, 2],
  ];
  const names = Object.entries(it.errors).map(([name, n]) => `${name} ${n}`).join(", ");
  return cells.map(([value, width, digits]) => value.toFixed(digits).padStart(width)).join("") +
    (names === "" ? "" : `  ${names}`);
}

function show({ findings, calls, kinds, failed, failures, trouble }: Report): void {
  const counts = Object.entries(kinds).map(([name, n]) => `${name} ${n}`).join(" · ");
  console.error(`\n${counts}\n`);
  for (const { what, early, late, rise, allowed, isFlat } of findings) {
    console.error(
      `${isFlat ? "flat" : "GROWS"}  ${what}: ${early.toFixed(1)} in the second quarter, ` +
        `${late.toFixed(1)} in the last; on the line ${rise.toFixed(1)} more ` +
        `(up to ${allowed.toFixed(1)} is none)`,
    );
  }
  for (const it of failures) console.error(`failed  ${it}`);
  for (const it of trouble) console.error(`log     ${it}`);
  console.error(
    `${calls} calls as expected, ${failed} not, ${trouble.length} warnings; ` +
      (findings.length === 0
        ? "too short to judge growth"
        : isFlat(findings)
        ? "flat"
        : "NOT FLAT"),
  );
}

function isFlat(findings: Report["findings"]): boolean {
  return findings.every((it) => it.isFlat);
}

const ending = new AbortController();
process.once("SIGINT", () => ending.abort());
console.error(HEAD);
const report = await soak({
  minutes,
  rate,
  ...(heap === undefined ? {} : { heap }),
  onRow: (row) => console.error(lineOf(row)),
  signal: ending.signal,
});
show(report);
if (options.json) console.log(JSON.stringify(report));
process.exitCode = report.failed === 0 && isFlat(report.findings) ? 0 : 1;
