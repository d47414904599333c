/**
 * A run: rounds of load and faults on one cluster, each with a bucket and a history of its own, and
 * checked when everything is whole again.
 *
 * @module
 */

import { rm } from "node:fs/promises";
import { join } from "node:path";
import { randomOf } from "../crash/plan.ts";
import { check, type Report } from "./judge/checks.ts";
import {
  type Fault as RecordedFault,
  type Json,
  LineFile,
  readHistory,
  Recorder,
} from "./judge/history.ts";
import { Load, type LoadOptions, type NodeClient } from "./load.ts";

/** What a run is told. */
export interface RunOptions {
  /** Makes the nodes. */
  arena: () => Promise<Arena>;
  seed: number;
  /** How long there are faults, milliseconds; each round ends a while later. */
  duration: number;
  /** How long those of one round last. */
  round: number;
  /** Which faults; without it all there are. */
  faults?: readonly string[];
  /** In this order, each once and for long, instead of by seed. */
  inOrder?: boolean;
  /** Where histories are written. */
  directory: string;
  /** Keep the histories of rounds that are good. */
  keep?: boolean;
  /** Breaks this promise on all nodes; see breaks.ts. */
  broken?: string;
  opTimeout?: number;
  maxStaleness?: number;
  /** What a call may take above its time-out, milliseconds. */
  late?: number;
  log: (line: string) => void;
}

/** A round that is over. */
export interface RoundReport extends Report {
  round: number;
  seed: number;
  file: string;
  faults: string[];
  seconds: number;
}

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** What a run takes place in. */
export interface Arena extends AsyncDisposable {
  readonly nodes: readonly NodeClient[];
  /** Faults by name: each does its damage, and gives what undoes it. */
  readonly faults: Readonly<Record<string, Fault>>;
  /** What authorizations promise there, where it cannot be chosen. */
  readonly maxStaleness?: number;
  /** How long a call may take there, where it cannot be chosen. */
  readonly opTimeout?: number;
  /** What load is made of, where it differs. */
  readonly load: Partial<LoadOptions>;
  /** Gets ready for a round. */
  begin(round: string, options: StoreTimes, recorder: Recorder): Promise<void>;
  /** What else is to be seen when load and faults are over; told as calls of nobody. */
  end(ask: Ask): Promise<void>;
}

/** Asks a node, and records the call as one of nobody. */
export type Ask = (node: Pick<NodeClient, "id" | "call">, op: string) => Promise<void>;

/** Does damage, and gives what undoes it. */
export type Fault = (context: FaultContext) => Promise<() => Promise<void>>;

/** What a fault has to know. */
export interface FaultContext {
  random: () => number;
  /** Tells of what is in effect now, and of what ends now. */
  record: (fault: Omit<RecordedFault, "at">) => void;
  /** Asks what is judged too. */
  ask: Ask;
}

/** How long stores may take, and what they know may be old. */
export interface StoreTimes {
  opTimeout: number;
  maxStaleness: number;
  /** The promise that is broken on purpose. */
  broken?: string;
}

/** Runs rounds until the time is over or a round was bad. */
export async function* run(options: RunOptions): AsyncGenerator<RoundReport> {
  const { seed, duration } = options;
  const begun = performance.now();
  const arena = await options.arena();
  try {
    for (let round = 1; round === 1 || performance.now() - begun < duration; round++) {
      const left = duration - (performance.now() - begun);
      const report = await oneRound(arena, options, round, seed + round - 1, left);
      yield report;
      if (report.violations.length > 0) return;
    }
  } finally {
    await arena[Symbol.asyncDispose]();
  }
}

async function oneRound(
  arena: Arena,
  options: RunOptions,
  round: number,
  seed: number,
  left: number,
): Promise<RoundReport> {
  const { log } = options;
  const opTimeout = arena.opTimeout ?? options.opTimeout ?? 5000;
  const maxStaleness = arena.maxStaleness ?? options.maxStaleness ?? 3000;
  const faults = options.faults ?? Object.keys(arena.faults);
  const random = randomOf(seed);
  const file = join(options.directory, `chaos-${seed}-${round}.ndjson`);
  const begun = performance.now();
  const done: string[] = [];
  {
    using lines = new LineFile(file);
    const { nodes } = arena;
    const recorder = new Recorder({
      ...{ seed, opTimeout, maxStaleness },
      nodes: nodes.map((it) => it.name),
      late: options.late,
      faults,
    }, (line) => lines.add(line));
    const { broken } = options;
    const times = { opTimeout, maxStaleness, ...(broken && { broken }) };
    await arena.begin(`${seed}_${round}`, times, recorder);
    const ask: Ask = async (node, op) => {
      const id = recorder.begin({ client: "check", node: node.id, op, args: {} });
      recorder.end(id, await node.call(op, {}));
    };
    const load = new Load(nodes, recorder, {
      ...{ random: randomOf(seed + 1e6), name: `${seed}-${round}`, pause: 25, seldom: 8000 },
      ...arena.load,
    });
    const running = load.run();
    // Heard of below; what a fault throws comes first.
    running.catch(() => {});
    try {
      await pause(1500);
      const until = performance.now() + Math.min(options.round, Math.max(left, 1));
      const todo = options.inOrder ? [...faults] : null;
      while (todo === null ? performance.now() < until : todo.length > 0) {
        const name = todo?.shift() ?? faults[Math.floor(random() * faults.length)]!;
        done.push(name);
        const mend = await arena.faults[name]!({
          random,
          ask,
          record: (it) => {
            recorder.fault(it);
            log(`  ${(recorder.now() / 1000).toFixed(1)} s ${it.phase} ${it.name} ${it.nodes}`);
          },
        });
        // Half of them longer than what is known may be old, and than it takes to elect a leader.
        const short = !options.inOrder && random() < 0.5;
        await pause(short ? 500 + random() * 2500 : maxStaleness + 2000 + random() * 3000);
        await mend();
        // Sometimes the next one comes before all is well again.
        if (random() < 0.7) await recovered(nodes, recorder);
        await pause(300 + random() * 1500);
      }
      await recovered(nodes, recorder);
      await pause(1000);
    } finally {
      load.stop();
      await running;
    }
    await arena.end(ask);
  }
  const report = check(readHistory(file));
  if (report.violations.length === 0 && !options.keep) await rm(file);
  const seconds = (performance.now() - begun) / 1000;
  return { ...report, round, seed, file, faults: done, seconds };
}

/** How long a cluster that is whole may take until every node is well, milliseconds. */
const RECOVERY = 120_000;

/** Waits until every node is well; records when that takes too long. */
async function recovered(nodes: readonly NodeClient[], recorder: Recorder): Promise<void> {
  const begun = recorder.now();
  await Promise.all(nodes.map(async (node) => {
    const id = recorder.begin({ client: "check", node: node.id, op: "recover", args: {} });
    for (;;) {
      const found = await node.call("health", {});
      if ("answer" in found && found.answer.ok) {
        return recorder.end(id, { answer: Math.round(recorder.now() - begun) });
      }
      if (recorder.now() - begun > RECOVERY) {
        const message = `not well after ${RECOVERY} ms: ${JSON.stringify(found)}`;
        return recorder.end(id, { error: "not_recovered", message });
      }
      await pause(200);
    }
  }));
}

/** Waits until every replica is current, which is later than that the nodes are well. */
export async function replicated(nodes: readonly NodeClient[]): Promise<void> {
  const begun = performance.now();
  const isBehind = async () => {
    const found = await nodes[0]!.call("doctor", {});
    return !("answer" in found) ||
      found.answer.some((it: Json) => it.check === "replicas" && it.level === "problem");
  };
  // Nobody waits for ever: what the doctor finds then is recorded and told.
  while (await isBehind() && performance.now() - begun < RECOVERY) await pause(500);
}
