/**
 * A thread that works on a SQLite file, so that nothing waits for it.
 *
 * @module
 */

import { Worker } from "node:worker_threads";
import { StoreError } from "../../core/errors.ts";
import { toStoreError } from "./errors.ts";

/** The operations of a thread: what each takes and returns. One of them is `close`. */
export type Operations<W> = { [K in keyof W]: [unknown, unknown] };

/** A question to the thread. */
export interface Question<W = unknown> {
  /** Its number. */
  id: number;
  /** What is asked. */
  op: keyof W;
  /** With what. */
  value: unknown;
}

/** The thread's answer. */
export interface Answer {
  /** The number of the question. */
  id: number;
  /** The answer. */
  value?: unknown;
  /** What failed: SQLite's message and code. */
  error?: { message: string; errcode: number | undefined };
}

interface Waiting {
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

/** A thread with one file open. */
export class FileThread<W extends Operations<W> & { close: [undefined, void] }> {
  readonly #attempt: string;
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #asked = 0;
  #end: StoreError | null = null;

  /**
   * @param source What the thread runs, in JavaScript
   * @param workerData What it is given
   * @param attempt What it does, for messages
   */
  constructor(source: string, workerData: unknown, attempt: string) {
    this.#attempt = attempt;
    // A `data:` URL is found from a package, a bundle and a compiled program alike.
    const url = new URL(`data:text/javascript,${encodeURIComponent(source)}`);
    this.#worker = new Worker(url, { workerData });
    this.#worker.on("message", (answer: Answer) => this.#take(answer));
    this.#worker.on("error", (error: unknown) => this.#stop(error));
    this.#worker.on("exit", () => this.#stop(new Error("the thread ended")));
    this.#worker.unref();
  }

  /** Whether it still answers. */
  get isOpen(): boolean {
    return this.#end === null;
  }

  /** Asks the thread; questions are answered in their order. */
  ask<K extends keyof W>(op: K, value: W[K][0]): Promise<W[K][1]> {
    if (this.#end !== null) return Promise.reject(this.#end);
    const id = ++this.#asked;
    // A process does not end while it waits for an answer.
    if (this.#waiting.size === 0) this.#worker.ref();
    return new Promise<unknown>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, op, value } satisfies Question<W>);
    }) as Promise<W[K][1]>;
  }

  /** Closes the file and ends the thread. */
  async close(): Promise<void> {
    if (this.#end !== null) return;
    await this.ask("close", undefined).catch(() => {});
    this.#end = new StoreError("closed", `${this.#attempt}: it is closed`);
    await this.#worker.terminate();
  }

  #take({ id, value, error }: Answer): void {
    const waiting = this.#waiting.get(id)!;
    this.#waiting.delete(id);
    if (this.#waiting.size === 0) this.#worker.unref();
    if (error === undefined) return waiting.resolve(value);
    const { message, errcode } = error;
    const cause = Object.assign(new Error(message), { code: "ERR_SQLITE_ERROR", errcode });
    waiting.reject(toStoreError(cause, this.#attempt));
  }

  #stop(cause: unknown): void {
    const text = cause instanceof Error ? cause.message : String(cause);
    this.#end ??= new StoreError("unavailable", `${this.#attempt}: ${text}`, { cause });
    for (const { reject } of this.#waiting.values()) reject(this.#end);
    this.#waiting.clear();
  }
}

/** A port to the other side; the part of `MessagePort` that is used. */
export interface Port<W = unknown> {
  postMessage(answer: Answer): void;
  on(event: "message", listener: (question: Question<W>) => void): void;
}

/** Answers questions on a port. A part of the thread: uses nothing from outside of itself. */
export function answering<W extends Operations<W>>(
  port: Port<W>,
  ops: { [K in keyof W]: (value: W[K][0]) => W[K][1] },
): void {
  port.on("message", ({ id, op, value }) => {
    try {
      port.postMessage({ id, value: ops[op](value as never) });
    } catch (error) {
      const { message, errcode } = error as Error & { errcode?: number };
      port.postMessage({ id, error: { message, errcode } });
    }
  });
}
