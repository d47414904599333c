/**
 * What is hit during a live move of the library, and when: most of it around the switch.
 *
 * @module
 */

import type { Random } from "../../../tools/random.ts";
import type { Trap } from "./node.ts";
import type { World } from "./world.ts";

export type Direction = "grow" | "shrink";
export type HitKind = "kill" | "stop" | "cut" | "disk";

/** A hit as it was drawn. */
export interface Hit {
  readonly kind: HitKind;
  /** `n1` is the process that moves, `s1` to `s3` are the servers; a disk is that of `n1` or `s3`. */
  readonly targets: readonly string[];
  readonly direction: Direction;
  /** The point of the move that it waits for; null is any moment. */
  readonly point: string | null;
  /** Milliseconds after that. */
  readonly delay: number;
  /** Milliseconds until what was killed is started again. */
  readonly down: number;
}

/** How long something is stopped, cut or full, milliseconds. */
const HELD_MS = 10_000;
const FULL_MS = 3_000;

/** Parts of a move: its points, and how often it is drawn. */
const PARTS: Record<Direction, readonly [weight: number, points: readonly (string | null)[]][]> = {
  grow: [
    [25, [null, "after claim", "copy", "verify", "ready"]],
    [25, ["switch"]],
    [20, ["before complete"]],
    [20, ["after complete"]],
    [10, ["done"]],
  ],
  shrink: [
    [20, [null, "check", "begin", "after announce"]],
    [25, ["freeze", "before stop", "after stop", "follow", "mark"]],
    [15, ["before leave"]],
    [20, ["after leave", "finish", "flip"]],
    [20, ["rename", "open", "done"]],
  ],
};
/** How far behind a point a hit falls at most, milliseconds: as long as that part takes. */
const SPREAD: Record<string, number> = { any: 2500, copy: 500, verify: 300, ready: 200 };
const NEAR_MS = 60;

const TARGETS: Record<HitKind, readonly [weight: number, targets: string][]> = {
  kill: [
    [45, "n1"],
    [15, "s1"],
    [6, "s2"],
    [6, "s3"],
    [10, "n1 s1"],
    [6, "n1 s2"],
    [6, "s1 s2"],
    [6, "s2 s3"],
  ],
  stop: [[3, "n1"], [3, "s1"], [1, "s2"], [1, "s3"], [1, "s2 s3"]],
  cut: [[3, "s1"], [1, "s2"], [1, "s3"]],
  disk: [[2, "n1"], [1, "s3"]],
};

function draw<T>(random: Random, of: readonly (readonly [number, T])[]): T {
  let at = random.fraction() * of.reduce((sum, [weight]) => sum + weight, 0);
  return (of.find(([weight]) => (at -= weight) < 0) ?? of.at(-1)!)[1];
}

/** Draws a hit. */
export function drawHit(
  random: Random,
  direction: Direction,
  kinds: readonly (readonly [number, HitKind])[],
): Hit {
  const kind = draw(random, kinds);
  const point = random.pick(draw(random, PARTS[direction]));
  const spread = SPREAD[point ?? "any"] ?? NEAR_MS;
  const isExact = point !== null && random.chance(0.35);
  return {
    kind,
    targets: draw(random, TARGETS[kind]).split(" "),
    direction,
    point,
    delay: isExact ? 0 : 1 + Math.floor(random.fraction() ** 1.5 * spread),
    down: random.chance(0.7) ? 0 : random.integer(500, 4000),
  };
}

/** A hit in words. */
export function show({ kind, targets, direction, point, delay, down }: Hit): string {
  const when = `${delay} ms after ${direction}${point === null ? "" : `.${point}`}`;
  return `${kind} ${targets.join("+")} ${when}${
    kind === "kill" && down > 0 ? `, down ${down} ms` : ""
  }`;
}

/** How the process that moves takes part in an exact hit. */
export function trapOf({ kind, targets, point, delay }: Hit): Trap | null {
  if (point === null || delay > 0) return null;
  if (kind === "kill" && targets.includes("n1")) return { point, act: "kill" };
  // Only a request can wait: the other points are passed at once.
  return /^(before|after) /.test(point) && !targets.includes("n1") ? { point, act: "wait" } : null;
}

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Makes a hit; resolves when everything runs and is whole again. `hitting` is called when it has begun. */
export async function strike(
  world: World,
  { kind, targets, down }: Hit,
  hitting: () => void,
): Promise<void> {
  const servers = targets.filter((it) => it !== "n1").map((it) => Number(it[1]) - 1);
  const { cluster, links } = world;
  if (kind === "kill") {
    const { node } = world;
    if (targets.includes("n1")) node.signal("SIGKILL");
    for (const i of servers) cluster[i]!.kill("SIGKILL");
    hitting();
    await Promise.all([
      ...servers.map(async (i) => {
        await cluster[i]!.exited;
        await wait(down);
        await cluster[i]!.restart();
      }),
      targets.includes("n1") ? node.ended.then(() => world.start()) : null,
    ]);
  } else if (kind === "stop") {
    const signal = (it: "SIGSTOP" | "SIGCONT") => {
      if (targets.includes("n1")) world.node.signal(it);
      for (const i of servers) cluster[i]!.kill(it);
    };
    signal("SIGSTOP");
    hitting();
    await wait(HELD_MS);
    signal("SIGCONT");
  } else if (kind === "cut") {
    for (const i of servers) {
      for (const other of [0, 1, 2].filter((it) => it !== i)) {
        links.set(i, other, { cut: true });
        links.set(other, i, { cut: true });
      }
    }
    hitting();
    await wait(HELD_MS);
    links.heal();
  } else {
    const disk = targets.includes("n1") ? world.disk : world.serverDisk;
    disk?.fill();
    hitting();
    await wait(FULL_MS);
    disk?.free();
    // A server whose disk was full takes writes again when it is started again.
    if (servers.length === 0 || disk === null) return;
    cluster[2]!.kill("SIGKILL");
    await cluster[2]!.exited;
    await cluster[2]!.restart();
  }
}
