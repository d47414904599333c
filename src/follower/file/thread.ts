/**
 * The thread that works on a follower's file, so that nothing waits for the disk.
 *
 * @module
 */

import { Worker } from "node:worker_threads";
import { KINDS } from "../../core/model.ts";
import { StoreError } from "../../core/errors.ts";
import { toStoreError } from "../../sqlite/file/errors.ts";
import { TABLES } from "../../sqlite/rows.ts";
import { loader } from "./loading.ts";
import type { Answer, Question, Work, WorkOptions } from "./messages.ts";
import { reading } from "./reading.ts";
import { statements } from "./statements.ts";
import { work } from "./work.ts";

/** What the thread runs: a `data:` URL is found from a package, a bundle and a compiled program alike. */
const SOURCE = `import * as sqlite from "node:sqlite";
import { parentPort, workerData } from "node:worker_threads";
const parts = { loader: ${loader}, reading: ${reading}, statements: ${statements} };
(${work})(parts, sqlite, parentPort, workerData);`;

interface Waiting {
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

/** A thread with one file open. */
export class Thread {
  readonly #path: string;
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #asked = 0;
  #end: StoreError | null = null;

  /**
   * @param path The file; its schema must be there
   * @param lock The file whose lock says who applies
   */
  constructor(path: string, lock: string) {
    this.#path = path;
    const tables = KINDS.map((kind): WorkOptions["tables"][number] => {
      const { columns, key } = TABLES[kind];
      return [kind, columns.split(", "), key.split(", ")];
    });
    const workerData: WorkOptions = { path, lock, tables };
    const url = new URL(`data:text/javascript,${encodeURIComponent(SOURCE)}`);
    this.#worker = new Worker(url, { workerData });
    this.#worker.on("message", (answer: Answer) => this.#take(answer));
    this.#worker.on("error", (error: unknown) => this.#stop(error));
    this.#worker.on("exit", () => this.#stop(new Error("the thread ended")));
    this.#worker.unref();
  }

  /** Asks the thread; questions are answered in their order. */
  ask<K extends keyof Work>(op: K, value: Work[K][0]): Promise<Work[K][1]> {
    if (this.#end !== null) return Promise.reject(this.#end);
    const id = ++this.#asked;
    return new Promise<unknown>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, op, value } satisfies Question);
    }) as Promise<Work[K][1]>;
  }

  /** Closes the file and ends the thread. */
  async close(): Promise<void> {
    if (this.#end !== null) return;
    await this.ask("close", undefined).catch(() => {});
    this.#end = new StoreError("closed", "The follower is closed");
    await this.#worker.terminate();
  }

  #take({ id, value, error }: Answer): void {
    const waiting = this.#waiting.get(id)!;
    this.#waiting.delete(id);
    if (error === undefined) return waiting.resolve(value);
    const { message, errcode } = error;
    const cause = Object.assign(new Error(message), { code: "ERR_SQLITE_ERROR", errcode });
    waiting.reject(toStoreError(cause, `Following in ${this.#path}`));
  }

  #stop(cause: unknown): void {
    const text = cause instanceof Error ? cause.message : String(cause);
    this.#end ??= new StoreError("unavailable", `Following in ${this.#path}: ${text}`, { cause });
    for (const { reject } of this.#waiting.values()) reject(this.#end);
    this.#waiting.clear();
  }
}
