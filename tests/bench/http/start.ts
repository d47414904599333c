/**
 * How long people wait: for the help, and from the start of the server until it is ready.
 *
 * @module
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { freePorts, natsBinary } from "../../helpers/nats.ts";
import { alternate, median, timed } from "../measure.ts";
import { type Row, whole } from "../table.ts";

const MAIN = fileURLToPath(new URL("../../../cli/main.ts", import.meta.url));
const HELP_ROUNDS = 20;
const START_ROUNDS = 5;

/** Measures the help against Deno's own start, and the server's first and later starts. */
export async function start(): Promise<Row[]> {
  const [nothing, help] = await alternate(HELP_ROUNDS, [
    () => runs(["eval", ""]),
    () => runs(["run", "-A", MAIN, "--help"]),
  ]);
  const bare = median(nothing!);
  const rows: Row[] = [{
    what: "membershipd --help",
    found: `${whole(median(help!))} ms`,
    baseline: `deno eval '': ${whole(bare)} ms`,
    ratio: median(help!) / bare,
    goal: { most: 1.5 },
  }];
  for (const store of ["sqlite", "jetstream"]) {
    const [first, later] = await starts(store);
    for (const [which, ms] of [["first", first!], ["later", later!]] as const) {
      rows.push({
        what: `${which} start to /readyz, --store ${store}`,
        found: `${whole(ms)} ms`,
        ratio: ms,
        goal: { most: 700, unit: " ms" },
      });
    }
  }
  return rows;
}

async function runs(args: string[]): Promise<void> {
  const child = spawn(Deno.execPath(), args, { stdio: "ignore" });
  await once(child, "exit");
}

/** Medians of the first start in an empty directory, and of a later one. */
async function starts(store: string): Promise<number[]> {
  const times: number[][] = [[], []];
  for (let round = 0; round < START_ROUNDS; round++) {
    const dir = await mkdtemp(join(tmpdir(), "unibus-bench-start-"));
    try {
      for (const list of times) list.push(await startIn(dir, store));
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  }
  return times.map((it) => median(it.sort((a, b) => a - b)));
}

async function startIn(cwd: string, store: string): Promise<number> {
  const [http, nats] = await freePorts(2);
  const { path } = await natsBinary();
  const args = ["--store", store, "--http-port", `${http}`, "--nats-port", `${nats}`];
  const env = { ...process.env, UNIBUS_NATS_SERVER: path };
  let child!: ReturnType<typeof spawn>;
  const ms = await timed(async () => {
    child = spawn(Deno.execPath(), ["run", "-A", MAIN, ...args], { cwd, env, stdio: "ignore" });
    while (!(await isReady(`http://127.0.0.1:${http}/readyz`))) {
      if (child.exitCode !== null) throw new Error(`The server ended with ${child.exitCode}`);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  });
  const ended = once(child, "exit");
  process.kill(child.pid!, "SIGTERM");
  await ended;
  return ms;
}

async function isReady(url: string): Promise<boolean> {
  try {
    const response = await fetch(url);
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false; // It does not listen yet.
  }
}
