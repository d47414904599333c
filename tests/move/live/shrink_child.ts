/**
 * A process that serves a bucket, writes to it and moves it to a file: `shrink_child.ts PLACE_JSON PHASE
 * [MS]`. Prints the key of each user that was acknowledged, a line each; kills itself so many milliseconds
 * after a step of the move begins, 0 for at once.
 */

import process from "node:process";
import { setImmediate } from "node:timers/promises";
import { shrinkStore } from "../../../mod.ts";
import { person } from "../../helpers/sqlite.ts";
import { open } from "./shrink_kit.ts";

const [place, at, ms = "0"] = Deno.args as [string, string, string?];
const given = JSON.parse(place);
const { store } = await open(given);
const kill = () => process.kill(process.pid, "SIGKILL");
let ended = false;

async function write(i: number): Promise<void> {
  for (let n = 0; !ended; n++) {
    const user = person(`${at}${i}_${n}`);
    await store.addUser(user);
    console.log(user.signPub);
    await setImmediate();
  }
}

const writing = [1, 2, 3].map(write);
const report = await shrinkStore(store, {
  db: given.db,
  node: "n1",
  onProgress({ phase }) {
    if (phase !== at) return;
    if (ms === "0") kill();
    else setTimeout(kill, Number(ms));
  },
});
ended = true;
await Promise.all(writing);
console.error(JSON.stringify(report));
if (ms === "0") kill();
