/**
 * The process that is killed: does what the plan says, and tells on standard output `s 7` before and
 * `a 7 {…}` after operation 7. The second line is only written when the store has answered.
 *
 * @module
 */

import type { Store } from "../../../src/core/store.ts";
import { onStore } from "../../model/play.ts";
import type { Planned } from "./plan.ts";

const [backend, target, planFile] = Deno.args;
const plan: Planned[] = JSON.parse(await Deno.readTextFile(planFile!));
let now = 0;
const clock = () => new Date(now);

async function open(): Promise<Store> {
  if (backend === "sqlite") {
    return (await import("../../../src/sqlite/mod.ts")).openSqlite(target!, { clock });
  }
  const { openJetStream } = await import("../../../src/jetstream/mod.ts");
  const [servers, bucket] = target!.split(" ");
  return await openJetStream({ servers: servers!, bucket: bucket!, clock });
}

const encoder = new TextEncoder();
function say(line: string): void {
  let rest = encoder.encode(`${line}\n`);
  while (rest.length > 0) rest = rest.subarray(Deno.stdout.writeSync(rest));
}

const store = await open();
const tokens = new Map<string, string>();
for (const [i, { command, at }] of plan.entries()) {
  now = at;
  const real = command.op === "consumeInvite"
    ? { ...command, token: tokens.get(command.token) ?? command.token }
    : command;
  say(`s ${i}`);
  const [outcome, { made, message }] = await onStore(store, real);
  if (made !== undefined) tokens.set(`@${i}`, made.token);
  const code = "code" in outcome ? outcome.code : "ok";
  say(`a ${i} ${JSON.stringify({ code, token: made?.token, message })}`);
}
await store.close();
