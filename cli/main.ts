#!/usr/bin/env -S deno run -A
/**
 * The program, `membershipd`. Without a checkout: `deno run -A jsr:@unibus/membership/cli --help`, or
 * `deno install -gAn membershipd jsr:@unibus/membership/cli`.
 *
 * @module
 */

// Help comes before anything else is loaded: the parser and `node:process` alone take longer than
// Deno's whole start.
import { fitsHelp, HELP } from "./help.ts";

if (Deno.args.length === 1 && ["--help", "-h", "help"].includes(Deno.args[0]!) && fitsHelp()) {
  console.log(HELP);
} else {
  const { runProcess } = await import("./terminal/process.ts");
  await runProcess(Deno.exit);
}
