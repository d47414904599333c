/**
 * A program that runs a nats-server, for tests of how the two end together. Prints the server's
 * process id and directory, then, on SIGINT, whether the server still ran and how it ended.
 *
 * @module
 */

import { dirname } from "node:path";
import process from "node:process";
import { startNatsServer } from "../../../src/nats/server/server.ts";

const [binary, storeDir] = process.argv.slice(2);
const server = await startNatsServer({ binary: binary!, jetstream: { storeDir: storeDir! } });
process.once("SIGINT", async () => {
  const wasRunning = server.running;
  await server[Symbol.asyncDispose]();
  console.log(JSON.stringify({ wasRunning, ...await server.exited }));
});
console.log(JSON.stringify({ pid: server.pid, directory: dirname(server.configPath) }));
