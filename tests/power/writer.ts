/**
 * The program whose power is lost: workers that write to one store at once, each its own records. Says
 * `s 1 7` before and `a 1 7 {token}` after operation 7 of worker 1, the second only when the store has
 * answered. Its arguments: backend, target, first worker, number of workers, operations of each,
 * milliseconds between them; for SQLite `broken` or not, for JetStream the copies.
 *
 * @module
 */

import { DatabaseSync } from "node:sqlite";
import type { Store } from "../../src/core/store.ts";
import { onStore } from "../model/play.ts";
import { NOW, workOf } from "./work.ts";

const [backend, target, first, workers, length, pause, more] = Deno.args;
const clock = () => new Date(NOW);

if (more === "broken") {
  // The deliberate break: SQLite is told not to sync.
  const { exec } = DatabaseSync.prototype;
  DatabaseSync.prototype.exec = function (sql: string) {
    return exec.call(this, sql.replace("synchronous = FULL", "synchronous = OFF"));
  };
}

async function open(): Promise<Store> {
  if (backend === "sqlite") {
    return (await import("../../src/sqlite/mod.ts")).openSqlite(target!, { clock });
  }
  const { openJetStream } = await import("../../src/jetstream/mod.ts");
  return await openJetStream({ servers: target!.split(","), replicas: Number(more), clock });
}

const encoder = new TextEncoder();
function say(line: string): void {
  const bytes = encoder.encode(`${line}\n`);
  if (Deno.stdout.writeSync(bytes) !== bytes.length) throw new Error("A line was cut");
}

await using store = await open();

async function worker(number: number): Promise<void> {
  let token = "";
  for (const [i, command] of workOf(number, Number(length)).entries()) {
    if (Number(pause) > 0) await new Promise((resolve) => setTimeout(resolve, Number(pause)));
    const real = command.op === "consumeInvite" ? { ...command, token } : command;
    say(`s ${number} ${i}`);
    const [outcome, { made, message }] = await onStore(store, real);
    if ("code" in outcome) throw new Error(`${command.op}: ${outcome.code} ${message}`);
    token = made?.token ?? token;
    say(`a ${number} ${i} ${made?.token ?? "-"}`);
  }
}

await Promise.all(Array.from({ length: Number(workers) }, (_, i) => worker(Number(first) + i)));
