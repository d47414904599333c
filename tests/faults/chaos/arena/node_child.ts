/**
 * A node's client: a process with a store of its own, that does what it is told on stdin, line by
 * line, and answers on stdout.
 *
 * @module
 */

import { diagnose, openJetStream } from "../../../../mod.ts";
import { openFollowed } from "../../../../src/follower/mod.ts";
import { openHistory } from "../../../../src/sqlite/open_history.ts";
import { TextLineStream } from "../../../helpers/lines.ts";
import { BREAKS } from "../breaks.ts";
import type { Json } from "../judge/history.ts";
import { followed, historyOf, marked, perform, promoted } from "../ops.ts";
import { Following, NamedStore } from "./named.ts";

const { broken, ...options } = JSON.parse(Deno.args[0]!);
const { store, follower } = options.follower === undefined
  ? { store: await openJetStream(options), follower: null }
  : await openFollowed(options);
const named = new NamedStore(store);
const following = new Following(store);
const { follower: _, ...bare } = options;
const silent = broken ? await openJetStream({ ...bare, history: false }) : null;
const used = silent === null ? named.store : BREAKS[broken]!(named.store, silent);
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

/** The history, compared with that of the follower's file; and what was followed of it. */
async function history(): Promise<Json> {
  using copy = follower === null ? undefined : openHistory(follower.path);
  const found = await historyOf(store, copy);
  return { ...found, followed: await following.upTo(found.entries.length) };
}

async function work(id: number, op: string, args: unknown): Promise<Json> {
  switch (op) {
    case "health":
      return await used.health();
    case "doctor":
    case "repair":
      return await diagnose({ ...options, create: false, repair: op === "repair" });
    case "followed":
      return await followed(follower!);
    case "mark":
      return await marked(follower!);
    case "promote":
      return await promote(id);
    case "history":
      return await history();
    default:
      return await perform(used, op, args);
  }
}

say({ ready: true });
const lines = Deno.stdin.readable.pipeThrough(new TextDecoderStream())
  .pipeThrough(new TextLineStream());
for await (const line of lines) {
  const { id, op, args, by } = JSON.parse(line);
  void named.call(by, () => work(id, op, args)).then((ending) => say({ id, ending }));
}
await silent?.close();
await store.close();
