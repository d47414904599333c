#!/usr/bin/env node
/**
 * The program under Node.
 *
 * @module
 */

import process from "node:process";

// An older one cannot even read the rest.
const OLDEST = 24;

if (Number(process.versions.node.split(".")[0]) < OLDEST) {
  console.error(
    `error: membershipd needs Node ${OLDEST} or later, and this is ${process.version}`,
  );
  process.exit(1);
}
const { runProcess } = await import("./terminal/process.ts");
await runProcess(process.exit);
