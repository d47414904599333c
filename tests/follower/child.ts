/**
 * A follower in a process of its own: `child.ts URL FILE`. Prints its state as a line of JSON every few
 * milliseconds, and ends with its input.
 *
 * @module
 */

import process from "node:process";
import { followStore } from "../../mod.ts";

const [servers, db] = Deno.args as [string, string];
const follower = await followStore({ nats: { servers }, db });
let last = "";
console.log(JSON.stringify({ pid: process.pid, position: 0 }));
const timer = setInterval(() => {
  const { role, position, exact, failure } = follower.state();
  const line = JSON.stringify({ role, position, exact, failure: failure?.message ?? null });
  if (line !== last) console.log(line);
  last = line;
}, 5);
for await (const _ of Deno.stdin.readable) { /* until its end */ }
clearInterval(timer);
await follower.close();
