/**
 * The process of n1, as the harness sees it.
 *
 * @module
 */

import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { within } from "../../../../src/core/async/wait.ts";
import type { Ledger } from "./ledger.ts";

/** What a child is given. */
export interface ChildPlace {
  /** A name of its own, for what it writes. */
  name: string;
  db: string;
  follower: string;
  servers: string;
  bucket: string;
  replicas: number;
  /** Milliseconds between two writes of a writer. */
  pause: number;
}

/** A point of a move at which the child kills itself, or waits for the word `release`. */
export interface Trap {
  point: string;
  act: "kill" | "wait";
}

/** A command to a child. */
export interface Command {
  id: number;
  op: "grow" | "shrink" | "call off" | "pause" | "resume" | "release" | "side";
  trap: Trap | null;
}

/** What came of a command. */
export type Outcome =
  | { state: "done"; text: string }
  | { state: "failed"; text: string }
  | { state: "died" };

const CHILD = fileURLToPath(new URL("./child.ts", import.meta.url));
/** How long an answer may take, milliseconds. */
const LIMIT_MS = 120_000;
/** Lines kept for a failure. */
const TAIL = 60;

/** A process of n1. */
export class Node {
  /** The points that it has reached. */
  readonly points: string[] = [];
  /** Number of writes that were answered. */
  acknowledged = 0;
  /** The last lines it printed. */
  readonly tail: string[] = [];
  readonly ended: Promise<void>;
  isOver = false;
  readonly #child: ChildProcess;
  readonly #ledger: Ledger;
  readonly #waiting = new Map<number, (outcome: Outcome) => void>();
  readonly #open = new Set<string>();
  readonly #serves = Promise.withResolvers<"file" | "bucket">();
  #listeners: (() => void)[] = [];
  #ids = 0;

  constructor(place: ChildPlace, ledger: Ledger) {
    this.#ledger = ledger;
    const args = ["run", "-A", "--no-check", CHILD, JSON.stringify(place)];
    const child = this.#child = spawn(Deno.execPath(), args, { stdio: "pipe" });
    child.stdin!.on("error", () => {});
    child.stderr!.setEncoding("utf8").on("data", (text: string) => this.#note(`stderr ${text}`));
    createInterface({ input: child.stdout! }).on("line", (line) => this.#take(line));
    this.#serves.promise.catch(() => {});
    this.ended = new Promise((resolve) => {
      child.once("close", () => {
        this.isOver = true;
        for (const name of this.#open) ledger.fail(name);
        for (const it of this.#waiting.values()) it({ state: "died" });
        this.#waiting.clear();
        this.#serves.reject(new Error("It ended"));
        this.#wake();
        resolve();
      });
    });
  }

  /** Where it serves from, once it does. */
  serves(): Promise<"file" | "bucket"> {
    return this.#limit("serving", this.#serves.promise);
  }

  /** Gives it a command; resolves with what came of it. */
  call(op: Command["op"], trap: Trap | null = null): Promise<Outcome> {
    if (this.isOver) return Promise.resolve({ state: "died" });
    const id = ++this.#ids;
    const command: Command = { id, op, trap };
    const outcome = new Promise<Outcome>((resolve) => this.#waiting.set(id, resolve));
    this.#child.stdin!.write(`${JSON.stringify(command)}\n`);
    return this.#limit(op, outcome);
  }

  /** Resolves when `fits`, looked at after each line; or when it has ended. */
  async until(fits: () => boolean): Promise<void> {
    while (!fits() && !this.isOver) {
      await new Promise<void>((resolve) => this.#listeners.push(resolve));
    }
  }

  signal(signal: NodeJS.Signals): void {
    if (!this.isOver) process.kill(this.#child.pid!, signal);
  }

  #limit<T>(what: string, work: Promise<T>): Promise<T> {
    return within(LIMIT_MS, work, () => {
      throw new Error(`${what} took more than ${LIMIT_MS / 1000} s`);
    });
  }

  #take(line: string): void {
    const [kind, ...rest] = line.split(" ") as [string, ...string[]];
    const text = rest.join(" ");
    if (kind === "try") {
      const [what, name, state] = rest as ["user" | "room", string, string];
      this.#open.add(name);
      this.#ledger.begin(what, name, state === "there");
    } else if (kind === "ack" || kind === "no") {
      const [name] = rest as [string];
      this.#open.delete(name);
      if (kind === "ack") {
        this.#ledger.acknowledge(name);
        this.acknowledged++;
      } else this.#ledger.fail(name);
    } else if (kind === "at" || kind === "here") this.points.push(kind === "at" ? text : "here");
    else if (kind === "serves") this.#serves.resolve(text as "file" | "bucket");
    else if (kind === "done" || kind === "failed") {
      const id = Number(rest[0]);
      this.#waiting.get(id)?.({ state: kind, text: rest.slice(1).join(" ") });
      this.#waiting.delete(id);
    }
    if (kind !== "try" && kind !== "ack") this.#note(line);
    this.#wake();
  }

  #note(line: string): void {
    this.tail.push(line);
    if (this.tail.length > TAIL) this.tail.shift();
  }

  #wake(): void {
    const listeners = this.#listeners;
    this.#listeners = [];
    for (const it of listeners) it();
  }
}
