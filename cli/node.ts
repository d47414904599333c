#!/usr/bin/env node
/**
 * The entry point for Node.
 *
 * @module
 */

import process from "node:process";

// Checked first, because an older version cannot parse the other modules.
const OLDEST = 24;

if (Number(process.versions.node.split(".")[0]) < OLDEST) {
  console.error(
    `error: membershipd requires Node ${OLDEST} or later, found ${process.version}`,
  );
  process.exit(1);
}
const { runProcess } = await import("./terminal/process.ts");
await runProcess(process.exit);
