/**
 * A process that does one move and nothing else, so that its peak memory is the move's own.
 * Arguments: path of the SQLite file, URL of the server, name of the bucket. Prints one JSON line.
 *
 * @module
 */

import { readFileSync } from "node:fs";
import process from "node:process";
import { migrateSqliteToKv } from "../../src/move/mod.ts";

const [db, servers, bucket] = process.argv.slice(2) as [string, string, string];
const report = await migrateSqliteToKv({ db, nats: { servers, bucket }, backup: false });
const status = readFileSync("/proc/self/status", "utf8");
const peak = Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
console.log(JSON.stringify({ report, peak }));
