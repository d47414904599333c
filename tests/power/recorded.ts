/**
 * Writers at work under strace, and the losses of power that their traces allow to play.
 *
 * @module
 */

import assert from "node:assert/strict";
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openJetStream } from "../../src/jetstream/mod.ts";
import { run } from "../../src/nats/server/exec.ts";
import { type NatsServer, startNatsServer } from "../../src/nats/server/server.ts";
import { openSqlite } from "../../src/sqlite/mod.ts";
import type { Store } from "../../src/core/store.ts";
import { freePorts, natsBinary, testCluster, testServer } from "../helpers/nats.ts";
import { until } from "../cli/serve/kit.ts";
import { Disk, type Keep, writeImage } from "./disk.ts";
import { type Event, readTrace, strace, tracedProgram } from "./trace.ts";
import { Expected, type Mark, marksOf } from "./work.ts";

/** What was seen of a run. */
export interface Recorded {
  /** What each machine did with its disk, and where that is. */
  disks: { root: string; events: Event[] }[];
  /** What the writers said. */
  marks: Mark[];
  /** Operations of each worker. */
  length: number;
}

/** How much is written. */
export interface Work {
  /** Workers at once: processes with SQLite, else in one. */
  workers: number;
  /** Operations of each. */
  length: number;
  /** Milliseconds between two of them; none by default. */
  pause?: number;
}

const LIMIT_MS = 900_000;

function writer(...args: (string | number)[]): string[] {
  return [
    ...[Deno.execPath(), "run", "--quiet", "--no-check", "--cached-only", "--allow-all"],
    ...["--config", fileURLToPath(new URL("../../deno.json", import.meta.url))],
    ...[fileURLToPath(new URL("./writer.ts", import.meta.url)), ...args.map(String)],
  ];
}

async function runTraced(log: string, program: string[]): Promise<void> {
  const [command, ...args] = strace(log, ...program);
  await run(command!, args, { timeout: LIMIT_MS });
}

/** Writes to an SQLite file; `broken` is told not to sync. */
export async function recordSqlite(
  dir: string,
  { workers, length }: Work,
  broken = false,
): Promise<Recorded> {
  const root = join(dir, "disk");
  await mkdir(root);
  const programs = Array.from(
    { length: workers },
    (_, i) =>
      writer("sqlite", `${root}/unibus.db`, i + 1, 1, length, 0, broken ? "broken" : "whole")
        .map((it) => `'${it}'`).join(" "),
  );
  // A writer that fails fails the shell.
  const script = `${programs.map((it) => `${it} & p="$p $!"`).join("\n")}
for it in $p; do wait $it || exit 1; done`;
  await runTraced(join(dir, "log"), ["sh", "-c", script]);
  const events = await readTrace(join(dir, "log"), { root });
  return { disks: [{ root, events }], marks: marksOf(events), length };
}

/** Writes to one nats-server; `seconds` as in `readTrace`. */
export async function recordNats(
  dir: string,
  work: Work,
  options: { syncAlways?: boolean; nodes?: number } = {},
): Promise<Recorded & { lines: Event[] }> {
  const { syncAlways = true, nodes = 1 } = options;
  const { path } = await natsBinary();
  const binary = join(dir, "nats-server");
  const log = join(dir, "nats.log");
  await tracedProgram(binary, log, path);
  const { workers, length, pause = 0 } = work;
  const places: { root: string; log: string }[] = [];
  const write = async (servers: readonly (NatsServer & { directory: string })[]) => {
    for (const it of servers) {
      places.push({ root: join(it.directory, "store"), log: `${log}.${it.pid}` });
    }
    const urls = servers.map((it) => it.url).join(",");
    const args = [urls, 1, workers, length, pause, servers.length];
    await runTraced(join(dir, "log"), writer("jetstream", ...args));
    // At once: what it does while it stops is not what is looked at.
    for (const it of servers) it.kill("SIGKILL");
    await Promise.all(servers.map((it) => it.exited));
  };
  if (nodes === 1) {
    await using server = await testServer({ binary, jetstream: { syncAlways } });
    await write([server]);
  } else {
    await using cluster = await testCluster(nodes, { binary, jetstream: { syncAlways } });
    await write(cluster.servers);
  }
  const seconds = true;
  const disks = await Promise.all(places.map(async ({ root, log }) => ({
    root,
    events: await readTrace(log, { root, seconds }),
  })));
  const said = await readTrace(join(dir, "log"), { root: "/nowhere", seconds });
  const { root, log: first } = places[0]!;
  return { disks, marks: marksOf(said), length, lines: await readTrace(first, { root }) };
}

/** Runs a command of ours that makes files in `root`, which is empty. */
export async function recordCommand(dir: string, root: string, args: string[]): Promise<Recorded> {
  await mkdir(root);
  const log = join(dir, `${args[0]}.log`);
  const main = fileURLToPath(new URL("../../cli/main.ts", import.meta.url));
  const { path } = await natsBinary();
  const deno = [Deno.execPath(), "run", "--quiet", "--no-check", "--cached-only", "--allow-all"];
  await runTraced(log, ["env", `UNIBUS_NATS_SERVER=${path}`, ...deno, main, ...args]);
  return { disks: [{ root, events: await readTrace(log, { root }) }], marks: [], length: 0 };
}

/** What is played of a recorded run. */
export interface Losses {
  /** How many moments. */
  moments: number;
  random: () => number;
  /** As the disk has it. */
  journal?: boolean;
  /** Before the first operation too: while files are made. */
  fromStart?: boolean;
  /** Opens what is left of the disks. */
  reopen(dirs: string[]): Promise<{ store: Store } & AsyncDisposable>;
}

/** Loses power at random moments, twice each: everything unsynced is gone, or some of it. */
export async function losePower(dir: string, recorded: Recorded, it: Losses): Promise<number> {
  const { marks, disks, length } = recorded;
  const { random, reopen } = it;
  const expected = new Expected(marks, length);
  const from = it.fromStart
    ? disks[0]!.events.find((e) => e.kind === "open")!.begin
    : marks[0]!.moment;
  const to = marks.at(-1)!.moment + (marks.at(-1)!.moment - from) / length;
  // Exactly at an acknowledgement is when it matters most.
  const acks = marks.filter((mark) => mark.kind === "a");
  const moments = Array.from(
    { length: it.moments },
    () =>
      random() < 0.5
        ? acks[Math.floor(random() * acks.length)]!.moment
        : from + random() * (to - from),
  ).sort((a, b) => a - b);
  const options = { journal: it.journal ?? false };
  const spinning = disks.map(({ root, events }) => new Disk(root, events, options));
  let heard = 0;
  for (const [i, moment] of moments.entries()) {
    for (const keep of ["nothing", { random }] as Keep[]) {
      const after = join(dir, "after");
      const dirs = disks.map((_, n) => join(after, String(n)));
      for (const [n, disk] of spinning.entries()) {
        await writeImage(disk.lose(moment, keep), disks[n]!.root, dirs[n]!);
      }
      const what = `loss ${i} of power, ${keep === "nothing" ? "all" : "some"} unsynced gone`;
      try {
        await using opened = await reopen(dirs);
        heard += (await expected.check(opened.store, moment)).acknowledged;
      } catch (error) {
        throw new Error(`${what}: ${(error as Error).message}`, { cause: error });
      }
      await rm(after, { recursive: true });
    }
  }
  return heard;
}

/** Opens an SQLite file; what shared memory holds after a loss of power is anything. */
export async function reopenSqlite([dir]: string[]): Promise<{ store: Store } & AsyncDisposable> {
  for (const name of await readdir(dir!)) if (name.endsWith("-shm")) await rm(join(dir!, name));
  const store = openSqlite(join(dir!, "unibus.db"));
  return { store, [Symbol.asyncDispose]: () => store.close() };
}

/** Starts servers on what is left of their disks. */
export async function reopenNats(dirs: string[]): Promise<{ store: Store } & AsyncDisposable> {
  const { path } = await natsBinary();
  const ports = await freePorts(2 * dirs.length);
  const routes = ports.slice(dirs.length);
  const started = await Promise.allSettled(dirs.map((storeDir, i) =>
    startNatsServer({
      binary: path,
      startTimeout: 30_000,
      port: ports[i]!,
      serverName: `n${i + 1}`,
      jetstream: { storeDir },
      ...dirs.length === 1 ? {} : {
        cluster: {
          name: "test",
          port: routes[i]!,
          routes: routes.filter((it) => it !== routes[i]).map((it) => `127.0.0.1:${it}`),
        },
      },
    })
  ));
  const servers = started.flatMap((it) => it.status === "fulfilled" ? [it.value] : []);
  const end = async () => {
    await Promise.all(servers.map(async (it) => {
      it.kill("SIGKILL");
      await it[Symbol.asyncDispose]();
    }));
  };
  try {
    const failed = started.find((it) => it.status === "rejected");
    if (failed !== undefined) throw failed.reason;
    const store = await openJetStream({ servers: servers.map((it) => it.url), create: false });
    // Nodes that come back elect a leader first.
    if (dirs.length > 1) {
      await until(async () => (await store.health()).ok, "store that can work", 120_000);
    }
    return {
      store,
      [Symbol.asyncDispose]: async () => {
        await store.close();
        await end();
      },
    };
  } catch (error) {
    await end();
    throw error;
  }
}

/** An acknowledgement that a nats-server sent: of which messages, and when it began to. */
export interface PubAck {
  moment: number;
  /** Sequences, first to last. */
  from: number;
  to: number;
}

/** The acknowledgements of writes to a stream in a trace. */
export function pubAcks(events: readonly Event[], stream: string): PubAck[] {
  const found: PubAck[] = [];
  for (const event of events) {
    if (event.kind !== "say" || !event.to.includes("TCP")) continue;
    const said = Buffer.from(event.data).toString("latin1");
    for (const [text] of said.matchAll(/\{"stream":"[^}]*\}/g)) {
      const ack = JSON.parse(text) as { stream: string; seq?: number; count?: number };
      if (ack.stream !== stream || ack.seq === undefined) continue;
      found.push({ moment: event.begin, from: ack.seq - (ack.count ?? 1) + 1, to: ack.seq });
    }
  }
  return found.sort((a, b) => a.moment - b.moment);
}

/** The sequences of the messages in what was written to a message block. */
export function sequencesIn(data: Uint8Array): number[] {
  const view = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  const found: number[] = [];
  // A record: its length (the top bit says it has headers), sequence (the top bits say it is erased).
  for (let at = 0; at + 22 <= view.length;) {
    const length = view.readUInt32LE(at) & 0x7fff_ffff;
    assert.ok(length >= 22, "A message block is not as expected");
    found.push(Number(view.readBigUInt64LE(at + 4) & 0x3fff_ffff_ffff_ffffn));
    at += length;
  }
  return found;
}
