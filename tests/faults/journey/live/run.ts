/**
 * Moves a control plane between a file and three servers again and again, under writes, and hits processes
 * on the way. After each hit exactly one side serves, with all that was answered and nothing else.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Random } from "../../../tools/random.ts";
import { type Direction, drawHit, type Hit, type HitKind, show, strike, trapOf } from "./hits.ts";
import type { Outcome } from "./node.ts";
import { type Side, World } from "./world.ts";

/** What to run. */
export interface LiveOptions {
  kills: number;
  /** Round trips before the hits, without one. */
  rounds: number;
  seed: string;
  /** What is drawn, and how often. */
  kinds: readonly (readonly [number, HitKind])[];
  /** When to stop although not all was done, milliseconds since 1970. */
  until?: number;
  log: (line: string) => void;
}

/** What came of it. */
export interface LiveReport {
  hits: number;
  rounds: number;
  /** Number of hits by kind and target, and by kind, direction, last point before it, and outcome. */
  targets: Record<string, number>;
  points: Record<string, number>;
  outcomes: Record<string, number>;
  /** Writes that were answered, and looks that saw both sides. */
  writes: number;
  looks: number;
}

/** Hits before all is made anew, so that little is left of earlier ones. */
const LIFE = 60;
/** How often a move is tried until it has arrived. */
const TRIES = 8;
/** How long a side may take to serve, and a point is waited for, milliseconds. */
const SERVE_MS = 90_000;
const POINT_MS = 20_000;

const wait = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
const count = (table: Record<string, number>, key: string) =>
  void (table[key] = (table[key] ?? 0) + 1);

/** Waits until something is so. */
async function until(fits: () => Promise<boolean> | boolean, what: () => string): Promise<void> {
  const end = performance.now() + SERVE_MS;
  while (!await fits()) {
    if (performance.now() > end) throw new Error(`Waited ${SERVE_MS / 1000} s for ${what()}`);
    await wait(20);
  }
}

class Travel {
  side: Side = "file";

  constructor(readonly world: World, readonly log: (line: string) => void) {}

  get direction(): Direction {
    return this.side === "file" ? "grow" : "shrink";
  }

  /** Requires that one side serves, and that it holds what was answered. */
  async check(): Promise<void> {
    const { world } = this;
    let side: Side | undefined;
    await until(async () => {
      side = await world.side().catch(() => undefined);
      return side !== undefined;
    }, () => "one side");
    const served = await world.node.serves();
    const answer = await world.node.call("side");
    const own = answer.state === "done" ? JSON.parse(answer.text) : `${answer.state} (${served})`;
    assert.equal(own, side, "n1 serves what file and bucket say");
    // Writes that begin now are answered, by all who may.
    const other = side === "file" ? world.beside : world.another;
    for (const [writer, name] of [[world.node, "n1"], [other, `peer of the ${side}`]] as const) {
      const before = writer.acknowledged;
      const isReached = () => writer.acknowledged > before + 5;
      await until(isReached, () => `writes by ${name}: ${"reason" in writer ? writer.reason : ""}`);
    }
    const paused = world.node.call("pause");
    await Promise.all([paused, world.beside.pause(), world.another.pause()]);
    assert.equal((await paused).state, "done");
    const wrong = world.ledger.differences(await world.read(side!));
    assert.deepEqual(wrong.slice(0, 10), [], `${wrong.length} records differ in the ${side}`);
    assert.deepEqual(world.looks.both, [], "both sides would have served");
    world.tidy();
    world.beside.isPaused = world.another.isPaused = false;
    await world.node.call("resume");
    this.side = side!;
  }

  /** Makes a move to its end. */
  async move(): Promise<number> {
    const from = this.side;
    const answers: string[] = [];
    for (let tries = 1; tries <= TRIES; tries++) {
      const outcome = await this.world.node.call(this.direction);
      await this.check();
      if (this.side !== from) return tries;
      answers.push(JSON.stringify(outcome));
      this.log(`  try ${tries}: ${answers.at(-1)!.slice(0, 300)}`);
      await wait(500);
    }
    return assert.fail(`It could not be finished: ${answers.join("\n")}`);
  }

  /** Moves with a hit on the way; returns the point before it, and what came of it. */
  async hit(hit: Hit): Promise<{ last: string; outcome: Outcome; isOver: boolean }> {
    const { world } = this;
    const { node } = world;
    const { points } = node;
    points.length = 0;
    let isOver = false;
    const moving = node.call(hit.direction, trapOf(hit));
    void moving.then(() => isOver = true);
    const point = trapOf(hit)?.act === "wait" ? "here" : hit.point;
    let isLate = false;
    const late = setTimeout(() => isLate = true, POINT_MS);
    // It looks again with each line that is printed, such as those of writes.
    await node.until(() => point === null || points.includes(point) || isOver || isLate);
    clearTimeout(late);
    if (hit.delay > 0) await Promise.race([wait(hit.delay), moving]);
    const isOverNow = isOver && !node.isOver;
    let last = "";
    await strike(world, hit, () => {
      last = points.filter((it) => it !== "here").at(-1) ?? "none";
      void node.call("release");
    });
    return { last, outcome: await moving, isOver: isOverNow };
  }
}

/** Runs round trips, then hits. */
export async function run(options: LiveOptions): Promise<LiveReport> {
  const { kills, rounds, seed, kinds, until: end = Infinity, log } = options;
  const random = new Random(seed);
  const report: LiveReport = {
    ...{ hits: 0, rounds: 0, targets: {}, points: {}, outcomes: {}, writes: 0, looks: 0 },
  };
  const isDone = () => Date.now() > end || report.hits >= kills && report.rounds >= rounds;
  while (!isDone()) {
    await using world = await World.open();
    const travel = new Travel(world, log);
    let what = "start";
    try {
      await travel.check();
      while (!isDone() && report.rounds < rounds) {
        what = `round trip ${report.rounds + 1}`;
        const begun = performance.now();
        const tries = await travel.move() + await travel.move();
        report.rounds++;
        log(`${what}: identical, ${tries} moves, ${Math.round(performance.now() - begun)} ms`);
      }
      for (let i = 0; i < LIFE && !isDone(); i++) {
        const hit = drawHit(random, travel.direction, kinds);
        const callOff = random.chance(0.3);
        what = `hit ${report.hits + 1} (${show(hit)})`;
        const begun = performance.now();
        const { side } = travel;
        const { last, outcome, isOver } = await travel.hit(hit);
        await travel.check();
        const arrived = travel.side !== side;
        let end = arrived ? "arrived" : "stayed";
        if (!arrived && callOff) {
          const answer = await world.node.call("call off");
          end = `called off: ${answer.state === "died" ? "died" : answer.text}`;
          await travel.check();
        } else if (!arrived) {
          await travel.move();
          end = "stayed, finished";
        }
        report.hits++;
        count(report.targets, `${hit.kind} ${hit.targets.join("+")}`);
        count(report.points, `${hit.kind} ${hit.direction}.${isOver ? "over" : last}`);
        count(report.outcomes, `${hit.direction} ${end.replace(/:.*/, "")}`);
        const said = outcome.state === "failed" ? `; ${outcome.text.slice(0, 160)}` : "";
        const took = Math.round(performance.now() - begun);
        log(`${report.hits} ${show(hit)}, at ${isOver ? "over" : last}: ${end}, ${took} ms${said}`);
      }
    } catch (error) {
      const says = await world.says();
      const peers = [world.beside, world.another].map((it) => it.reason).join("; ");
      const text = [`Seed ${seed}, ${what}: ${(error as Error).message}`, says, peers];
      throw new Error([...text, ...world.node.tail].join("\n"), { cause: error });
    } finally {
      report.writes += world.ledger.acknowledged;
      report.looks += world.looks.number;
    }
  }
  return report;
}
