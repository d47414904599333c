/**
 * Soak: a mixed load on one real server for long, and whether its memory, its open files and the delay
 * of its event loop stay as they are.
 *
 * @module
 */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { openJetStream } from "../../src/jetstream/mod.ts";
import { loadServiceKeys } from "../../src/nats/mod.ts";
import { daemon } from "../cli/serve/kit.ts";
import { identityOf, load } from "./load.ts";
import { Meter, Pace } from "./meter.ts";
import { childrenOf, type Look, look, quantile } from "./sample.ts";
import { type Finding, judge, type Measure, median } from "./verdict.ts";

/** What to run. */
export interface SoakOptions {
  minutes: number;
  /** Calls a second. */
  rate: number;
  /** Most heap the server may take, MB; with 64 the collector takes more time than the work. */
  heap?: number;
  /** Called with each row as it is there. */
  onRow?: (row: Row) => void;
  /** Ends it early; what was seen is reported. */
  signal?: AbortSignal;
}

/** What was seen in a minute. Memory in MB, delays in milliseconds. */
export interface Row {
  minute: number;
  perSecond: number;
  /** Failures that nobody expected, by call and code. */
  errors: Record<string, number>;
  rss: number;
  heap: number;
  fds: number;
  p50: number;
  p99: number;
  max: number;
  natsRss: number;
  natsFds: number;
  /** Of one core, both processes. */
  cpu: number;
}

/** What came of it. */
export interface Report {
  rows: Row[];
  findings: Finding[];
  calls: number;
  kinds: Record<string, number>;
  failed: number;
  failures: string[];
  /** Warnings and errors in the server's log. */
  trouble: string[];
}

const ROW_MS = 60_000;
const LOOKS_A_ROW = 12;
const MB = 1024 * 1024;

/** From so many rows on growth can be told from warming up. */
export const ROWS_TO_JUDGE = 16;

/** What must be flat. Delays are those of a machine that others use as well. */
const MEASURES: Readonly<Partial<Record<keyof Row, Measure>>> = {
  rss: { what: "resident memory, MB", share: 0.1, least: 12 },
  heap: { what: "heap in use, MB", share: 0.1, least: 6 },
  fds: { what: "open files", share: 0, least: 4 },
  p99: { what: "event loop delay p99, ms", share: 0.5, least: 5 },
  natsRss: { what: "nats-server: resident memory, MB", share: 0.1, least: 12 },
  natsFds: { what: "nats-server: open files", share: 0, least: 6 },
};

/** Runs it. */
export async function soak({ minutes, rate, heap, onRow, signal }: SoakOptions): Promise<Report> {
  const dir = await mkdtemp(join(tmpdir(), "unibus-soak-"));
  try {
    await using server = await daemon(dir, [
      ...["--store", "jetstream", "--bus-auth", "enforce"],
      ...["--service-keys", join(dir, "keys.json"), "--log-level", "info"],
    ], heap === undefined ? {} : { DENO_V8_FLAGS: `--max-old-space-size=${heap}` });
    const admin = identityOf("admin");
    const { service } = await loadServiceKeys(join(dir, "keys.json"));
    {
      await using store = await openJetStream({
        servers: server.nats,
        nkeySeed: service.seed,
        create: false,
      });
      const { signPub, kexPub } = admin;
      await store.addUser({ signPub, kexPub, handle: "admin", role: "admin" });
    }
    const began = performance.now();
    const meter = new Meter(() => performance.now() - began);
    const ending = new AbortController();
    signal?.addEventListener("abort", () => ending.abort());
    const running = load({
      http: server.http,
      nats: server.nats,
      admin,
      meter,
      pace: new Pace(rate),
      signal: ending.signal,
    });
    // Where the load itself breaks, there is nothing to wait for.
    const broken = running.then(() => {}, (error) => {
      meter.fail("load", error);
      ending.abort();
    });
    const pid = server.process.pid;
    const [nats] = childrenOf(pid);
    const see = () => look(server.http, pid, nats!);
    const rows: Row[] = [];
    let before = await see();
    for (let minute = 1; minute <= minutes && !ending.signal.aborted; minute++) {
      const looks: Look[] = [];
      for (let i = 1; i <= LOOKS_A_ROW && !ending.signal.aborted; i++) {
        const at = began + (minute - 1 + i / LOOKS_A_ROW) * ROW_MS;
        // The end of it is looked for by the loop.
        const left = Math.max(0, at - performance.now());
        await delay(left, null, { signal: ending.signal }).catch(() => {});
        looks.push(await see());
      }
      const { good, failed } = meter.take();
      const last = looks.at(-1)!;
      const seconds = ROW_MS / 1000 * looks.length / LOOKS_A_ROW;
      const row: Row = {
        minute,
        perSecond: good / seconds,
        errors: Object.fromEntries(failed),
        rss: median(looks.map((it) => it.rss)) / MB,
        // The least of it is what is left after a collection.
        heap: Math.min(...looks.map((it) => it.heap)) / MB,
        fds: median(looks.map((it) => it.fds)),
        p50: quantile(before.delays, last.delays, 0.5),
        p99: quantile(before.delays, last.delays, 0.99),
        max: last.longest * 1000,
        natsRss: median(looks.map((it) => it.natsRss)) / MB,
        natsFds: median(looks.map((it) => it.natsFds)),
        cpu: (last.cpu - before.cpu) / seconds,
      };
      before = last;
      rows.push(row);
      onRow?.(row);
    }
    ending.abort();
    await broken;
    const trouble = server.events().filter((it) => ["warn", "error"].includes(it.level));
    return {
      rows,
      findings: rows.length < ROWS_TO_JUDGE ? [] : findingsOf(rows),
      calls: meter.calls,
      kinds: Object.fromEntries([...meter.kinds].sort()),
      failed: meter.failedInAll,
      failures: meter.failures,
      trouble: trouble.filter((it) => !isExpected(it.event)).map((it) => JSON.stringify(it)),
    };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** The judgement of all that must be flat. */
export function findingsOf(rows: readonly Row[]): Finding[] {
  return Object.entries(MEASURES).map(([key, measure]) =>
    judge(measure, rows.map((it) => it[key as keyof Row] as number))
  );
}

/** What the load has refused on purpose. */
function isExpected(event: string): boolean {
  return event === "http.refused" || event === "bus.refused" || event === "bus.kicked" ||
    event === "no_admin";
}
