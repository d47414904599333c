/**
 * What was asked, when, and what came back: the one thing the checkers look at.
 *
 * All times come from one monotonic clock, that of the process that records. It notes the start before
 * a call is sent to a node and the end after its answer has come, so a call's true span lies within the
 * recorded one, and nothing is ever found wrong because two clocks differ. A call whose answer never
 * came, or that ended with an error that says nothing of its outcome, stays open: it may take effect
 * at any later time, or never.
 *
 * @module
 */

import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { isStoreError } from "../../../../src/core/errors.ts";

/** A value that JSON can hold. */
// deno-lint-ignore no-explicit-any
export type Json = any;

/** What a run began with. */
export interface RunInfo {
  seed: number;
  /** The time of day at 0 of the monotonic clock, milliseconds since 1970. */
  wall: number;
  /** The bound that authorizations promise, milliseconds. */
  maxStaleness: number;
  /** Anything that helps to run it again. */
  [more: string]: Json;
}

/** Who asks what of whom. */
export interface Asked {
  /** Who asked; one client asks one thing after another. */
  client: string;
  /** The node asked, with a number that counts its client's processes: `n1#2`. */
  node: string;
  op: string;
  args: Json;
}

/** A call with its outcome. */
export interface Call extends Asked {
  id: number;
  start: number;
  /** `null` when no answer came. */
  end: number | null;
  answer?: Json;
  /** The code of the error it ended with. */
  error?: string;
  message?: string;
  /** The revision of what it changed; `null` for nothing. Not there if the node does not tell. */
  revision?: string | null;
}

/** Something done to the nodes. */
export interface Fault {
  at: number;
  /** What, such as `kill`. */
  name: string;
  /** Whether it begins or ends. */
  phase: "begin" | "end";
  nodes: string[];
  /** Nodes that cannot reach a majority from now on (`begin`), or may again (`end`). */
  cut: string[];
}

/** A recorded run. */
export interface History {
  run: RunInfo;
  calls: Call[];
  faults: Fault[];
}

/** How a call ended. */
export type Ending = ({ answer: Json } | { error: string; message: string }) & {
  revision?: string | null;
};

/** Codes after which a write may or may not have been made, or may yet be. */
const OPEN_CODES = new Set(["unavailable", "closed", "aborted", "lost"]);

/** Whether it is open if and when the call takes effect. */
export function isOpen(call: Pick<Call, "end" | "error">): boolean {
  return call.end === null || (call.error !== undefined && OPEN_CODES.has(call.error));
}

/** Whether the call was answered. */
export function isAnswered(call: Call): boolean {
  return call.end !== null && call.error === undefined;
}

/** How a thrown error is recorded. */
export function endingOf(error: unknown): Ending {
  if (isStoreError(error)) return { error: error.code, message: error.message };
  return { error: "not_a_store_error", message: String(error) };
}

/** Records a run, line by line. */
export class Recorder {
  readonly #write: (line: string) => void;
  readonly #now: () => number;
  #ids = 0;

  /** @param write Takes a line */
  constructor(
    run: Omit<RunInfo, "wall">,
    write: (line: string) => void,
    now: () => number = () => performance.now(),
  ) {
    this.#write = write;
    this.#now = now;
    this.#line({ type: "run", ...run, wall: Date.now() - now() });
  }

  /** The monotonic clock. */
  now(): number {
    return this.#now();
  }

  /** Notes that a call begins; to be called before anything of it is done. */
  begin({ client, node, op, args }: Asked): number {
    const id = ++this.#ids;
    this.#line({ type: "call", id, at: this.#now(), client, node, op, args });
    return id;
  }

  /** Notes that it ended; to be called when nothing of it is left to come. */
  end(id: number, ending: Ending): void {
    this.#line({ type: "return", id, at: this.#now(), ...ending });
  }

  /** Runs and records a call; gives its ending, and never rejects. */
  async call(asked: Asked, work: () => Promise<Json>): Promise<Ending> {
    const id = this.begin(asked);
    let ending: Ending;
    try {
      ending = { answer: (await work()) ?? null };
    } catch (error) {
      ending = endingOf(error);
    }
    this.end(id, ending);
    return ending;
  }

  /** Notes what is done to the nodes: the beginning when it is in effect, the end before it is undone. */
  fault(fault: Omit<Fault, "at">): void {
    this.#line({ type: "fault", at: this.#now(), ...fault });
  }

  #line(value: unknown): void {
    this.#write(JSON.stringify(value));
  }
}

/** A file that lines are added to. */
export class LineFile implements Disposable {
  readonly path: string;
  readonly #file: number;
  #lines: string[] = [];
  #size = 0;

  constructor(path: string) {
    this.path = path;
    this.#file = openSync(path, "w", 0o600);
  }

  /** Adds a line; it is in the file at the latest after {@link flush}. */
  add(line: string): void {
    this.#lines.push(line, "\n");
    this.#size += line.length;
    if (this.#size > 256 * 1024) this.flush();
  }

  flush(): void {
    const text = this.#lines.join("");
    this.#lines = [];
    this.#size = 0;
    if (text !== "") writeSync(this.#file, text);
  }

  [Symbol.dispose](): void {
    this.flush();
    closeSync(this.#file);
  }
}

/** Reads what was recorded. A last line that is cut off, as a crash leaves it, is passed over. */
export function parseHistory(lines: Iterable<string>): History {
  let run: RunInfo | undefined;
  const calls = new Map<number, Call>();
  const faults: Fault[] = [];
  for (const line of lines) {
    if (line === "") continue;
    let value: Json;
    try {
      value = JSON.parse(line);
    } catch {
      break;
    }
    const { type, at, ...rest } = value;
    if (type === "run") run = rest;
    else if (type === "call") calls.set(rest.id, { ...rest, start: at, end: null });
    else if (type === "return") Object.assign(calls.get(rest.id)!, { ...rest, end: at });
    else if (type === "fault") faults.push({ ...rest, at });
    else throw new Error(`Unknown line in the history: ${line.slice(0, 80)}`);
  }
  if (run === undefined) throw new Error("The history does not begin with its run");
  return { run, calls: [...calls.values()], faults };
}

/** Reads a recorded run from a file. */
export function readHistory(path: string): History {
  return parseHistory(readFileSync(path, "utf8").split("\n"));
}
