/**
 * A node's client: a process with a store of its own, that does what it is told on stdin, line by
 * line, and answers on stdout.
 *
 * @module
 */

import { diagnose, openJetStream } from "../../../../mod.ts";
import { openFollowed } from "../../../../src/follower/mod.ts";
import { TextLineStream } from "../../../helpers/lines.ts";
import { BREAKS } from "../breaks.ts";
import { type Ending, endingOf, type Json } from "../judge/history.ts";
import { followed, marked, perform, promoted } from "../ops.ts";

const { broken, ...options } = JSON.parse(Deno.args[0]!);
const { store, follower } = options.follower === undefined
  ? { store: await openJetStream(options), follower: null }
  : await openFollowed(options);
const used = broken ? BREAKS[broken]!(store) : store;
const encoder = new TextEncoder();

function say(line: unknown): void {
  const bytes = encoder.encode(`${JSON.stringify(line)}\n`);
  for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
}

/** What a copy of the follower becomes; with the break, always what the first one became. */
let first: Promise<Json> | undefined;
async function promote(id: number): Promise<Json> {
  const path = `${follower!.path}-promoted-${id}`;
  if (broken !== "old_copy") return await promoted(follower!, path);
  const { position } = await follower!.whenExact();
  return { ...await (first ??= promoted(follower!, path)), position };
}

async function answer(id: number, op: string, args: unknown): Promise<void> {
  let ending: Ending;
  try {
    const found = op === "health"
      ? await used.health()
      : op === "doctor" || op === "repair"
      ? await diagnose({ ...options, create: false, repair: op === "repair" })
      : op === "followed"
      ? await followed(follower!)
      : op === "mark"
      ? await marked(follower!)
      : op === "promote"
      ? await promote(id)
      : await perform(used, op, args);
    ending = { answer: found ?? null };
  } catch (error) {
    ending = endingOf(error);
  }
  say({ id, ending });
}

say({ ready: true });
const lines = Deno.stdin.readable.pipeThrough(new TextDecoderStream())
  .pipeThrough(new TextLineStream());
for await (const line of lines) {
  const { id, op, args } = JSON.parse(line);
  void answer(id, op, args);
}
await store.close();
