/**
 * What happens to machines during a move: processes killed or stopped, routes cut; at a phase of the
 * move or at any moment.
 *
 * @module
 */

import type { Random } from "../../tools/random.ts";
import { type Machine, type Place, signal } from "./place.ts";

/** How long something is stopped or cut, milliseconds. */
const HELD_MS = 10_000;
/** Phases of each direction that a hit waits for, those around the switch most often; null is any moment. */
const AROUND = ["switch", "switch", "switch", "switch", "finish", "finish", "finish"] as const;
const PHASES = {
  grow: ["nats", "blobs", "copy", "verify", "replicas", ...AROUND, null, null],
  shrink: ["blobs", "nats", ...AROUND, null],
} as const;
/** How far behind the begin of a phase a hit falls at most, milliseconds: a switch takes less than 100. */
const SPREAD: Record<string, number> = { any: 8_000, switch: 120, finish: 120 };
const KINDS = ["kill", "kill", "kill", "stop", "cut"] as const;
/** What is hit; of `n1` only its `membershipd`, of others the whole machine. */
const TARGETS = ["n1", "n1", "n1 nats", "n1 nats", "n2", "n3", "n2 n3", "n1 n2"] as const;

/** A hit as it was drawn. */
export interface Hit {
  readonly kind: typeof KINDS[number];
  readonly target: typeof TARGETS[number];
  readonly direction: "grow" | "shrink";
  readonly phase: string | null;
  /** Milliseconds after the phase began, or after the command was given. */
  readonly delay: number;
}

/** Draws one. */
export function drawHit(random: Random, direction: "grow" | "shrink"): Hit {
  const of = <T>(all: readonly T[]) => all[Math.floor(random.fraction() * all.length)]!;
  const phase = of<string | null>(PHASES[direction]);
  const delay = Math.floor(random.fraction() ** 2 * (SPREAD[phase ?? "any"] ?? 400));
  return { kind: of(KINDS), target: of(TARGETS), direction, phase, delay };
}

/** A hit in words. */
export function show({ kind, target, direction, phase, delay }: Hit): string {
  return `${kind} ${target} ${delay} ms after ${direction}${phase === null ? "" : `.${phase}`}`;
}

/** Makes a hit; resolves when everything runs or is whole again. */
export async function strike({ machines, links }: Place, { kind, target }: Hit): Promise<void> {
  const hit = target.split(" ").filter((it) => it !== "nats").map((name) =>
    machines.find((it) => it.name === name)!
  );
  if (kind === "cut") {
    for (const it of hit) {
      const at = machines.indexOf(it);
      for (const other of [0, 1, 2].filter((it) => it !== at)) {
        links.set(at, other, { cut: true });
        links.set(other, at, { cut: true });
      }
    }
    await wait(HELD_MS);
    links.heal();
    return;
  }
  // A whole machine, unless one process of the first is named.
  const pids = target === "n1 nats"
    ? [machines[0].natsPid()]
    : target === "n1"
    ? [machines[0].process.pid]
    : hit.flatMap((it) => [it.process.pid, it.natsPid()]);
  if (kind === "kill" && target !== "n1 nats") { for (const it of hit) it.isHit = true; }
  for (const pid of pids) signal(pid, kind === "kill" ? "SIGKILL" : "SIGSTOP");
  if (kind === "stop") {
    await wait(HELD_MS);
    for (const pid of pids) signal(pid, "SIGCONT");
  } else if (target !== "n1 nats") await Promise.all(hit.map(restart));
}

async function restart(it: Machine): Promise<void> {
  await it.process.ended;
  it.start();
}

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
