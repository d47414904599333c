/**
 * `deno task compile`: the program as one executable of `deno compile`, with a nats-server in it.
 *
 * What is compiled is the bundle, which has no dependencies left. The runtime that goes in front of it
 * (`denort`) is downloaded by Deno when it is not in its cache; `DENORT_BIN` names one instead.
 *
 * @module
 */

import { mkdir } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { parseArgs } from "node:util";
import { inWorkspace, main, run } from "./run.ts";
import { stage } from "./stage.ts";

const TARGETS = [
  "x86_64-unknown-linux-gnu",
  "aarch64-unknown-linux-gnu",
  "x86_64-apple-darwin",
  "aarch64-apple-darwin",
  "x86_64-pc-windows-msvc",
];

const HELP = `Usage: deno task compile [--out FILE] [--target T --nats-server FILE --nats-version V]

Make one executable that holds membershipd and a nats-server.

  --out FILE          where it goes (default: ./local_files/membershipd)
  --target T          for another platform: ${TARGETS.join(", ")}
  --nats-server FILE  the nats-server for it (default: the one of this machine)
  --nats-version V    its version, where it does not run here

The runtime for it is downloaded by Deno, unless its cache has it or DENORT_BIN names one.`;

/** What to do about a runtime that cannot be downloaded. */
const NO_RUNTIME =
  "The runtime that deno compile puts into the executable could not be downloaded. On a machine " +
  "without the open network set DENORT_BIN to a denort of the same version and target, or copy the " +
  "dl directory of another machine's DENO_DIR into this one's; deno task dist needs neither";

async function make(args: string[]): Promise<void> {
  const text = { type: "string" } as const;
  const { values } = parseArgs({
    args,
    options: {
      out: text,
      target: text,
      "nats-server": text,
      "nats-version": text,
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help) return console.log(HELP);
  const { target } = values;
  if (target !== undefined && !TARGETS.includes(target)) {
    throw new Error(`--target must be one of ${TARGETS.join(", ")}, found ${target}`);
  }
  if (target !== undefined && target !== Deno.build.target && values["nats-server"] === undefined) {
    throw new Error(`--target ${target} needs --nats-server FILE, a nats-server for that platform`);
  }
  const out = resolve(values.out ?? "local_files/membershipd");
  await mkdir(dirname(out), { recursive: true });
  const log = (line: string) => console.error(line);
  await inWorkspace(async (work) => {
    await stage({
      directory: work,
      natsServer: values["nats-server"],
      natsVersion: values["nats-version"],
      log,
    });
    log("Compiling");
    const to = target === undefined ? [] : ["--target", target];
    const what = ["--allow-all", "--no-config", "--no-lock", "--include", ".", "--output", out];
    try {
      await run(Deno.execPath(), ["compile", "--quiet", ...to, ...what, "main.js"], work);
    } catch (error) {
      const isMissing = /denort|error sending request|download/i.test(String(error));
      throw isMissing ? new Error(NO_RUNTIME, { cause: error }) : error;
    }
    log(out);
  });
}

await main("compile", make);
