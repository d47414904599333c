/**
 * Moves a control plane to three nodes and back, again and again, while it is written and machines are
 * hit; after each hit the judge looks at both sides, and the move is finished or called off.
 *
 * @module
 */

import assert from "node:assert/strict";
import { within } from "../../../src/core/async/wait.ts";
import { documentOf } from "../../cli/kit.ts";
import { populate } from "../../cluster/grow/kit.ts";
import { Load } from "../../bench/grow/load.ts";
import { eventsOf } from "../../cli/serve/kit.ts";
import { Random } from "../../tools/random.ts";
import { BlobWork } from "./blobs.ts";
import { drawHit, type Hit, show, strike } from "./hits.ts";
import { Judge, type Side } from "./judge.ts";
import { openPlace, type Place } from "./place.ts";
import { rawFile, type Records } from "./raw.ts";

/** What to run. */
export interface JourneyOptions {
  /** A directory for the machines. */
  dir: string;
  /** Number of hits. */
  kills: number;
  /** Number of round trips without hits, before them. */
  rounds: number;
  /** The same seed draws the same hits. */
  seed: string;
  /** Users in the file at first. */
  users: number;
  /** Calls a second of the load. */
  rate: number;
  /** Hits in place of drawn ones. */
  hits?: readonly Hit[];
  /** Takes a line of text for each move. */
  log: (line: string) => void;
}

/** What came of it. */
export interface JourneyReport {
  /** Hits that met a move under way. */
  met: number;
  /** Moves that were finished, and called off, after a hit. */
  finished: number;
  calledOff: number;
  /** Round trips without a hit. */
  rounds: number;
  /** Writes that were answered. */
  writes: number;
  /** Blobs that were answered. */
  blobs: number;
  /** How often both sides were looked at. */
  looks: number;
  /** Servers that ended although nothing hit them, and were started again. */
  ended: number;
}

/** How often a command is given again until the move is over. */
const TRIES = 6;
/** How long a command may take, milliseconds. */
const LIMIT_MS = 400_000;
/** How long a phase is waited for before the hit is made anyway, milliseconds. */
const PHASE_MS = 30_000;

/** The control plane on its way. */
class Journey {
  side: Side = "file";
  readonly report: JourneyReport;
  #parts: string[] = [];

  constructor(
    readonly place: Place,
    readonly judge: Judge,
    readonly load: Load,
    readonly blobs: BlobWork,
    readonly people: Awaited<ReturnType<typeof populate>>,
    readonly before: Records,
    readonly log: (line: string) => void,
  ) {
    this.report = {
      met: 0,
      finished: 0,
      calledOff: 0,
      rounds: 0,
      writes: 0,
      blobs: 0,
      looks: 0,
      ended: 0,
    };
  }

  get direction(): "grow" | "shrink" {
    return this.side === "file" ? "grow" : "shrink";
  }

  async #call(...flags: string[]) {
    const { direction } = this;
    const begins = flags.length === 0 && direction === "shrink" ? ["--keep", "n1"] : flags;
    const args = [direction, ...begins, "--json"];
    const { code, stdout, stderr } = await within(
      LIMIT_MS,
      this.place.first.call(...args),
      async () => {
        const { stdout } = await this.place.first.call(direction, "--status", "--json");
        throw new Error(`${args.join(" ")} took more than ${LIMIT_MS / 1000} s: ${stdout}`);
      },
    );
    const text = stdout.trim() === "" ? stderr : stdout;
    return {
      code,
      text,
      status: stdout.trim() === "" ? null : documentOf({ code, stdout, stderr }),
    };
  }

  /** Notes how long a part took, for the line about a hit. */
  async #timed<T>(part: string, work: Promise<T>): Promise<T> {
    const began = performance.now();
    try {
      return await work;
    } finally {
      this.#parts.push(`${part} ${((performance.now() - began) / 1000).toFixed(1)}`);
    }
  }

  /** Requires one whole side; the load rests meanwhile. */
  async check(): Promise<Side> {
    const { judge, load, blobs, people, before } = this;
    const side = await this.#timed("serving", judge.settled(people.admin, load));
    await this.#timed("stopping", load.stop());
    await this.#timed("comparing", judge.requireWhole(side, before, load));
    this.report.blobs = await this.#timed("blobs", blobs.requireThere());
    load.start();
    return side;
  }

  /** Makes a move to its end. */
  async finish(): Promise<void> {
    const to = this.side === "file" ? "bucket" : "file";
    const answers: string[] = [];
    for (let tries = 0; tries < TRIES; tries++) {
      const { text } = await this.#call();
      answers.push(text);
      if (tries > 0) this.log(`  try ${tries + 1}: ${text.trim().slice(0, 300)}`);
      if (await this.check() === to) {
        this.side = to;
        return;
      }
    }
    assert.fail(`It could not be finished: ${answers.join("\n")}`);
  }

  /** Moves with a hit on the way. */
  async hit(hit: Hit, callOff: boolean): Promise<void> {
    const began = performance.now();
    const { direction, side } = this;
    const moving = this.#call().catch((error) => ({ code: -1, text: String(error), status: null }));
    let isOver = false;
    void moving.then(() => isOver = true);
    await this.#moment(hit, () => isOver);
    if (!isOver) this.report.met++;
    const when = isOver ? "after its end" : "under way";
    await this.#timed("hit", strike(this.place, hit));
    const { code, text, status } = await this.#timed("move", moving);
    const now = await this.check();
    let outcome = now === side ? "still there" : "arrived";
    if (now !== side) this.side = now;
    else if (callOff) {
      const answer = await this.#call("--call-off");
      this.report.calledOff++;
      outcome = `called off (${answer.status?.state ?? answer.text.trim().split("\n")[0]})`;
      // It may have arrived meanwhile.
      this.side = await this.check();
    } else {
      await this.finish();
      this.report.finished++;
      outcome = "finished";
    }
    const why = status?.error?.message ?? text.trim().slice(0, 300);
    const error = code === 0 ? "" : `; ${direction} said: ${why}`;
    const took = ((performance.now() - began) / 1000).toFixed(1);
    for (; this.report.ended < this.place.ended.length; this.report.ended++) {
      this.log(`  by itself: ${this.place.ended[this.report.ended]}`);
    }
    const parts = this.#parts.splice(0).join(", ");
    this.log(`${show(hit)}, ${when}: ${outcome} in ${took} s (${parts})${error}`);
  }

  /** Waits for the moment of a hit. */
  async #moment({ direction, phase, delay }: Hit, isOver: () => boolean): Promise<void> {
    const { place: { machines: [n1] } } = this;
    const count = () =>
      eventsOf(n1.process.stderr()).filter((it) => it.event === `${direction}.${phase}`).length;
    const before = count();
    const deadline = performance.now() + PHASE_MS;
    while (phase !== null && count() === before && !isOver() && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    for (const end = performance.now() + delay; performance.now() < end && !isOver();) {
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }

  /** There and back without a hit. */
  async round(): Promise<void> {
    const began = performance.now();
    await this.finish();
    await this.finish();
    this.report.rounds++;
    const took = ((performance.now() - began) / 1000).toFixed(1);
    this.log(`round trip ${this.report.rounds}: identical, ${took} s`);
  }
}

/** Runs round trips, then hits. */
export async function run(options: JourneyOptions): Promise<JourneyReport> {
  const { dir, kills, rounds, seed, users, rate, hits, log } = options;
  await using stack = new AsyncDisposableStack();
  const place = stack.use(await openPlace(dir, { cuttable: true }));
  const [n1] = place.machines;
  const people = await populate(n1.db, users);
  const before = rawFile(n1.db);
  const load = stack.use(new Load(n1.http, people.admin, { writes: rate, reads: rate }));
  const judge = stack.use(await Judge.open(place));
  const blobs = stack.use(new BlobWork(n1.http, people.admin));
  const journey = new Journey(place, judge, load, blobs, people, before, log);
  const { report } = journey;
  load.start();
  const telling = (what: string, work: Promise<void>) =>
    work.catch((error) => {
      const tails = place.machines.map((it) => {
        return `${it.name}: ${it.process.stderr().split("\n").slice(-15).join("\n")}`;
      });
      const failures = load.window().failures.slice(-5);
      const text = [error.message, ...failures, ...tails].join("\n");
      throw new Error(`Seed ${seed}, ${what}: ${text}`, { cause: error });
    });
  for (let i = 0; i < rounds; i++) await telling(`round trip ${i + 1}`, journey.round());
  const random = new Random(seed);
  for (let i = 0; i < kills; i++) {
    const hit = hits?.[i] ?? drawHit(random, journey.direction);
    const callOff = random.fraction() < 0.4;
    await telling(`hit ${i + 1} (${show(hit)})`, journey.hit(hit, callOff));
  }
  await load.stop();
  report.writes = load.written.size;
  report.looks = judge.looks;
  return report;
}
