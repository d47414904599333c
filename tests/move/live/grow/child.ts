/**
 * A process that moves a file into a bucket or writes to the file, to be stopped or killed:
 * `child.ts grow DB NATS_JSON [AT [SIGNAL]]` or `child.ts write DB NAME`. AT is a phase, or `before` or
 * `after` and a part of a request, such as `before "action":"store.moved"`; there it sends itself SIGNAL.
 * Prints a line for each step, each acknowledged write, and the end.
 */

import { growStore, openJetStream, openSqlite, StoreError } from "../../../../mod.ts";
import { connectNats } from "../../../../src/nats/connection/connect.ts";
import { interposed } from "../../../helpers/interposed.ts";
import { person } from "../../../helpers/sqlite.ts";

const [task, db, given, at = "", signal = "SIGKILL"] = Deno.args as [string, string, string];

/** Prints a line at once. */
const say = (line: string) => Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));

const hit = () => {
  say("here");
  Deno.kill(Deno.pid, signal as Deno.Signal);
  return Promise.resolve();
};

async function grow(): Promise<void> {
  const nats = JSON.parse(given);
  const [when, text] = /^(before|after) (.*)$/.exec(at)?.slice(1) ?? [];
  const nc = await connectNats({ servers: nats.servers });
  const connection = text === undefined ? nc : interposed(
    nc as Parameters<typeof interposed>[0],
    (payload) => payload.includes(text),
    { [when!]: hit },
  );
  await using store = openSqlite(db);
  await using target = await openJetStream({ ...nats, connection, allowInProgress: true });
  let last = "";
  const onProgress = ({ phase }: { phase: string }) => {
    if (phase === last) return;
    last = phase;
    say(`phase ${phase}`);
    if (phase === at) hit();
  };
  let isOver = false;
  const writing = (async () => {
    for (let n = 0; !isOver; n++) {
      const name = `${Deno.pid} own ${n}`;
      try {
        await store.addUser(person(name));
        say(`ack ${name}`);
      } catch (error) {
        say(`no ${(error as Error).message}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  })();
  const { pause, attempts, noted } = await growStore(store, { target, onProgress });
  say(`moved ${Math.round(pause)} ${attempts} ${noted}`);
  isOver = true;
  await writing;
  await store.close();
  await nc.close();
}

/** Writes to the file until it is refused. */
async function write(): Promise<void> {
  await using store = openSqlite(db);
  say("open");
  for (let n = 0;; n++) {
    const name = `${Deno.pid} ${given} ${n}`;
    try {
      await store.addUser(person(name));
      say(`ack ${name}`);
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      say(`no ${error.code} ${await store.isAuthorized(person("ada").signPub)}`);
      if (error.code === "refused") return;
    }
    await new Promise((resolve) => setTimeout(resolve, 3));
  }
}

try {
  await (task === "grow" ? grow() : write());
} catch (error) {
  say(`failed ${error instanceof StoreError ? error.code : ""} ${(error as Error).message}`);
  Deno.exit(1);
}
