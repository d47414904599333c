/** Says how late the timers of an idle process are: p50, p99 and the longest, in milliseconds. */

import process from "node:process";
import { Delays } from "./follower.ts";

const delays = new Delays();
await new Promise((resolve) => setTimeout(resolve, Number(process.argv[2])));
console.log(JSON.stringify(delays.end()));
