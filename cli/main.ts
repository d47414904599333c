#!/usr/bin/env -S deno run -A
/**
 * The program. It answers `--help` from a text of its own, before anything else is loaded: the
 * parser and `node:process` alone take longer than Deno's whole start.
 *
 * @module
 */

import { fitsHelp, HELP } from "./help.ts";

if (Deno.args.length === 1 && ["--help", "-h", "help"].includes(Deno.args[0]!) && fitsHelp()) {
  console.log(HELP);
} else {
  const { runProcess } = await import("./terminal/process.ts");
  await runProcess(Deno.exit);
}
