/**
 * The journeys of a running server: begins one when it is asked to, tells how far it is, and ends it.
 *
 * @module
 */

import { StoreError } from "../../../src/core/errors.ts";
import { orAbort, within } from "../../../src/core/async/wait.ts";
import {
  type Direction,
  errorOf,
  type JourneyRequest,
  type JourneyState,
} from "../../cluster/journey.ts";
import type { Trip, World } from "./types.ts";

/** The work of a journey. */
export type Travel = (world: World, trip: Trip) => Promise<void>;

/** What journeys consist of. */
export interface Ways {
  /** Into the cluster. */
  grow: Travel;
  /** Into the file of this node. */
  shrink: Travel;
  /** Undoes what was begun, if nothing has been switched. */
  callOff: Travel;
}

/** How long an answer waits for the end of a journey that is called off, milliseconds. */
const ENDING_MS = 3_000;

interface Running {
  request: JourneyRequest;
  direction: Direction;
  abort: AbortController;
  word: PromiseWithResolvers<void>;
  ended: Promise<void>;
}

/** The state before any move, apart from where the server serves. */
export const NEW = {
  direction: null,
  state: "none",
  phase: null,
  done: 0,
  total: null,
  lag: null,
  pause: null,
  retry: null,
  error: null,
  findings: [],
  startedAt: null,
  endedAt: null,
} satisfies Partial<JourneyState>;

/** What a server knows of a journey, apart from where it serves. */
type Known = Omit<JourneyState, "serves">;

/** The state of a journey that an earlier process began. */
export function pausedState(direction: Direction, message: string, hint: string): Known {
  const error = { code: "in_progress" as const, message, hint };
  return { ...NEW, direction, state: "paused", error, findings: [] };
}

/** The journeys of one server, one at a time. */
export class Journeys {
  readonly #world: World;
  readonly #ways: Ways;
  #now: Known = { ...NEW };
  #running: Running | null = null;
  #stopped = false;

  constructor(world: World, ways: Ways) {
    this.#world = world;
    this.#ways = ways;
  }

  /** Returns the state. */
  status(): JourneyState {
    const serves = this.#world.storage.bucket === null ? "file" : "bucket";
    return { serves, ...this.#now, findings: [...this.#now.findings] };
  }

  /** Notes a journey that an earlier process began. */
  foundPaused(direction: Direction, why: string, hint: string): void {
    this.#now = pausedState(direction, why, hint);
  }

  /** Notes a journey that an earlier process made. */
  foundDone(direction: Direction): void {
    this.#now = { ...NEW, direction, state: "done", findings: [] };
  }

  /**
   * Answers a request.
   *
   * @throws {StoreError} refused: it is not possible now
   */
  async handle(request: JourneyRequest): Promise<JourneyState> {
    const { op } = request;
    if (op === "grow" || op === "shrink") this.#begin(op, request);
    else if (op === "release") this.#release(request);
    else if (op === "call-off") await this.#callOff(request);
    return this.status();
  }

  /** Pauses what is in progress; the next start can continue it. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#running?.abort.abort("stop");
    await this.#running?.ended;
  }

  #begin(direction: Direction, request: JourneyRequest): void {
    const running = this.#running;
    if (running === null) return this.#start(direction, request, this.#ways[direction]);
    const isSame = running.direction === direction && request.dryRun !== true;
    const other = isSame ? differenceOf(running.request, request) : null;
    // The same command again only watches it.
    if (isSame && other === null) return;
    const how = [this.#now.phase, other].filter((it) => it !== null).join(", and ");
    throw new StoreError("refused", `A ${running.direction} is in progress (${how})`, {
      hint: `wait until it has ended, or use membershipd ${running.direction} --call-off`,
    });
  }

  #start(direction: Direction, request: JourneyRequest, travel: Travel): void {
    const abort = new AbortController();
    const word = Promise.withResolvers<void>();
    if (request.hold !== true) word.resolve();
    this.#now = {
      ...NEW,
      direction,
      state: "running",
      phase: "preflight",
      findings: [],
      startedAt: new Date().toISOString(),
    };
    const { log } = this.#world.around;
    let isHeld = false;
    const trip: Trip = {
      request,
      signal: abort.signal,
      begin: (phase, total = null) => {
        // What is copied meanwhile is not what it waits for.
        if (isHeld) return;
        if (this.#now.phase !== phase) log("info", `${direction}.${phase}`);
        Object.assign(this.#now, { phase, done: 0, total });
      },
      tell: (now) => void Object.assign(this.#now, now),
      find: (text) => void this.#now.findings.push(text),
      released: async () => {
        isHeld = request.hold === true;
        if (isHeld) this.#now.phase = "hold";
        await orAbort(word.promise, abort.signal).finally(() => isHeld = false);
      },
    };
    const ended = this.#travel(trip, travel).finally(() => this.#running = null);
    this.#running = { request, direction, abort, word, ended };
  }

  /** Runs it, and notes how it ended; never rejects. */
  async #travel(trip: Trip, travel: Travel): Promise<void> {
    const { log } = this.#world.around;
    const { direction } = this.#now;
    try {
      await travel(this.#world, trip);
      this.#now.state = trip.request.dryRun
        ? "none"
        : travel === this.#ways.callOff
        ? "called-off"
        : "done";
      if (!trip.request.dryRun) {
        log("info", `${direction}.${this.#now.state}`, { pause: this.#now.pause ?? undefined });
      }
    } catch (error) {
      const isPaused = trip.signal.aborted && trip.signal.reason === "stop";
      this.#now.state = isPaused ? "paused" : "failed";
      this.#now.error = errorOf(error);
      log("error", `${direction}.${this.#now.state}`, { reason: error });
    }
    this.#now.endedAt = new Date().toISOString();
  }

  #release({ direction }: JourneyRequest): void {
    const running = this.#running;
    const isMeant = running !== null && (direction ?? running.direction) === running.direction;
    if (!isMeant || running.request.hold !== true) {
      const what = direction ?? "move";
      throw new StoreError("refused", `No ${what} waits for --release before its switch`, {
        hint: `membershipd ${direction ?? "grow"} --status shows what is in progress`,
      });
    }
    running.word.resolve();
  }

  async #callOff(request: JourneyRequest): Promise<void> {
    const { direction } = this.#now;
    const { direction: meant = direction } = request;
    if (direction === null || meant !== direction) throw this.#nothingOf(meant);
    const running = this.#running;
    if (running === null) this.#startCallOff(direction, request);
    else if (!running.abort.signal.aborted && running.request.op !== "call-off") {
      running.abort.abort("call-off");
      // However long that takes, and whether it is asked for again or not.
      void running.ended.then(() => this.#startCallOff(direction, request)).catch(() => {});
      await within(ENDING_MS, running.ended, () => {});
    }
    await within(ENDING_MS, this.#running?.ended ?? Promise.resolve(), () => {});
  }

  #startCallOff(direction: Direction, request: JourneyRequest): void {
    // The answer to the first request is lost if the nats-server leaves the cluster.
    if (this.#now.state === "called-off") return;
    // What it works on is being closed.
    if (this.#stopped) return;
    // Also one that failed because there was nothing left to move.
    if (this.#hasArrived(direction)) throw this.#nothingOf(direction);
    this.#start(direction, request, this.#ways.callOff);
  }

  /** Whether the control plane is where a move of this direction takes it. */
  #hasArrived(direction: Direction): boolean {
    return this.status().serves === (direction === "grow" ? "bucket" : "file");
  }

  /** Describes that there is nothing to call off. */
  #nothingOf(direction: Direction | null): StoreError {
    const found = `There is no ${direction ?? "move"} to call off`;
    const { direction: other, state } = this.#now;
    if (other !== null && other !== direction && ["running", "paused", "failed"].includes(state)) {
      const hint = `the ${other} is called off with membershipd ${other} --call-off`;
      return new StoreError("refused", found, { hint });
    }
    if (direction === null || !this.#hasArrived(direction)) return new StoreError("refused", found);
    return new StoreError("refused", found, {
      hint: direction === "grow"
        ? "the control plane is in the cluster; membershipd shrink moves it back"
        : "the control plane is in the file of this node; membershipd grow moves it into the cluster",
    });
  }
}

/** Returns how a move in progress differs from one that is asked for; null if it does not. */
function differenceOf(running: JourneyRequest, asked: JourneyRequest): string | null {
  if (running.op === "call-off") return "is being called off";
  if (running.dryRun === true) return "only checks whether it is possible";
  if (asked.keep !== running.keep) return `goes to ${running.keep}`;
  if (asked.hold === true && running.hold !== true) return "does not wait before its switch";
  if (asked.pace !== undefined && asked.pace !== running.pace) return "has another --pace";
  return asked.noHistory === true && running.noHistory !== true ? "takes the history along" : null;
}
