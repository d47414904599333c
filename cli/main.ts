#!/usr/bin/env -S deno run -A
/**
 * The program `membershipd`. Run it without a checkout with
 * `deno run -A jsr:@unibus/membership/cli --help` or
 * `deno install -gAn membershipd jsr:@unibus/membership/cli`.
 *
 * @module
 */

// The help is printed before anything else is loaded: loading the parser and `node:process` takes
// longer than the start of Deno.
import { fitsHelp, HELP } from "./help.ts";

if (Deno.args.length === 1 && ["--help", "-h", "help"].includes(Deno.args[0]!) && fitsHelp()) {
  console.log(HELP);
} else {
  const { runProcess } = await import("./terminal/process.ts");
  await runProcess(Deno.exit);
}
