/**
 * The node n1 without its HTTP server: settles what it finds, serves and writes, and moves the control plane
 * when it is told to. `child.ts PLACE_JSON`; commands come as JSON lines. Prints a line for each point of a
 * move that it reaches, each write, and each outcome; it can kill itself at a point, or wait there.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import process from "node:process";
import {
  callOffGrow,
  callOffShrink,
  finishShrink,
  growStore,
  isStoreError,
  openJetStream,
  openSqlite,
  settleGrow,
  shrinkStore,
  type Store,
} from "../../../../mod.ts";
import { connectNats } from "../../../../src/nats/connection/connect.ts";
import { roleOf } from "../../../../src/sqlite/file/role.ts";
import { newRoom, person } from "../../../helpers/sqlite.ts";
import type { ChildPlace, Command } from "./node.ts";

const place: ChildPlace = JSON.parse(Deno.args[0]!);
const { db, follower, servers, bucket } = place;
const encoder = new TextEncoder();
/** Prints a line at once. */
const say = (line: string) => void Deno.stdout.writeSync(encoder.encode(`${line}\n`));
const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

let trap: Command["trap"] = null;
let released: () => void = () => {};

/** Says that a point is reached, and does there what it was told. */
function reach(point: string): Promise<void> | undefined {
  say(`at ${point}`);
  if (trap?.point !== point) return;
  const { act } = trap;
  trap = null;
  if (act === "kill") Deno.kill(Deno.pid, "SIGKILL");
  say("here");
  return new Promise((resolve) => released = resolve);
}

/** What a request is to a move; null if it is nothing of the kind. */
function nameOf(subject: string, payload: string): string | null {
  if (subject.includes("STREAM.UPDATE")) return payload.includes(".meta.>") ? "stop" : "thaw";
  // The mark that completes a move into the bucket is sent with it.
  if (payload.includes(`"action":"store.moved"`)) return "complete";
  if (!subject.endsWith(".meta.migration")) return null;
  if (payload.includes(`"moved"`)) return "leave";
  if (payload.includes(`"shrink"`)) return "announce";
  return "claim";
}

const nc = await connectNats({ servers, bootstrapTimeout: 120_000 });
const request: typeof nc.request = async (subject, payload, options) => {
  const text = typeof payload === "string" ? payload : new TextDecoder().decode(payload);
  const name = nameOf(subject, text);
  if (name !== null) await reach(`before ${name}`);
  const answer = await nc.request(subject, payload, options);
  if (name !== null) await reach(`after ${name}`);
  return answer;
};
const connection = new Proxy(nc, {
  get(target, name) {
    if (name === "request") return request;
    const found = Reflect.get(target, name);
    return typeof found === "function" ? found.bind(target) : found;
  },
});
const nats = { connection, bucket, opTimeout: 5000 };

/** Opens what the control plane is in, as a start of the program does. */
async function open(): Promise<Store> {
  if (existsSync(db)) {
    if (roleOf(db).frozenAt !== null) await settleGrow({ db, nats });
    if (roleOf(db).role === "primary") return openSqlite(db, { create: false });
  }
  const { state } = await finishShrink({ nats, db, follower, node: "n1" });
  if (state === "here") return openSqlite(db, { create: false });
  if (state === "elsewhere") throw new Error("The control plane is elsewhere");
  return await openJetStream({ ...nats, follower, create: false });
}

async function serve(): Promise<Store> {
  for (;;) {
    try {
      const store = await open();
      say(`serves ${store.backend === "sqlite" ? "file" : "bucket"}`);
      return store;
    } catch (error) {
      say(`waits ${error}`);
      if (!isStoreError(error, "unavailable")) throw error;
      await pause(200);
    }
  }
}

const store = await serve();
let isPaused = false;
let writing = 0;

/** Adds and deletes, again and again, what has the names of one writer. */
async function write(writer: number): Promise<void> {
  const isRoom = writer === 0;
  const there = new Set<string>();
  let last = 0;
  const fresh = () => `${place.name}_${writer}_${++last}`;
  const names = Array.from({ length: isRoom ? 4 : 8 }, fresh);
  for (let n = 0;; n = (n + 1) % names.length) {
    await pause(place.pause);
    if (isPaused) continue;
    const name = names[n]!;
    const isThere = there.has(name);
    writing++;
    say(`try ${isRoom ? "room" : "user"} ${name} ${isThere ? "gone" : "there"}`);
    try {
      if (isRoom) await (isThere ? store.deleteRoom(name) : store.createRoom(newRoom(name)));
      else if (isThere) await store.deleteUser(person(name).signPub);
      else await store.addUser(person(name));
      say(`ack ${name}`);
      if (isThere) there.delete(name);
      else there.add(name);
    } catch (error) {
      say(`no ${name} ${error}`);
      if (!isStoreError(error)) throw error;
      // What became of it is not known: another name takes its place.
      names[n] = fresh();
    } finally {
      writing--;
    }
  }
}

async function grow(): Promise<unknown> {
  const options = { ...nats, follower, allowInProgress: true, replicas: place.replicas };
  await using target = await openJetStream(options);
  let last = "";
  const onProgress = ({ phase }: { phase: string }) => {
    if (phase === last) return;
    last = phase;
    void reach(phase);
  };
  return await growStore(store, { target, onProgress, pace: 1 });
}

function shrink(): Promise<unknown> {
  return shrinkStore(store, { db, node: "n1", onProgress: ({ phase }) => void reach(phase) });
}

async function stop(): Promise<void> {
  isPaused = true;
  while (writing > 0) await pause(5);
}

async function obey(command: Command): Promise<unknown> {
  trap = command.trap;
  switch (command.op) {
    case "grow":
      return await grow();
    case "shrink":
      return await shrink();
    case "call off":
      return store.backend === "sqlite"
        ? await callOffGrow({ db, nats })
        : await callOffShrink(nats);
    case "pause":
      return await stop();
    case "resume":
      isPaused = false;
      return;
    case "release":
      return released();
    case "side":
      return store.backend === "sqlite" ? "file" : "bucket";
  }
}

const writers = [0, 1, 2, 3].map(write);
Promise.all(writers).catch((error) => {
  say(`fatal ${error}`);
  Deno.exit(1);
});
for await (const line of createInterface({ input: process.stdin })) {
  const command: Command = JSON.parse(line);
  void obey(command).then(
    (result) => say(`done ${command.id} ${JSON.stringify(result ?? null)}`),
    (error) => say(`failed ${command.id} ${isStoreError(error) ? error.code : ""} ${error}`),
  );
}
Deno.exit();
