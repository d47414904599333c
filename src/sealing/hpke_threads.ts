/**
 * HPKE in threads: a room of 10,000 members needs as many sealings, and a machine has more than one
 * processor. Where no thread can be had, or one fails, this process seals: that only takes longer.
 *
 * @module
 */

import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { parentPort, Worker as NodeWorker, workerData } from "node:worker_threads";
import { nextTurn } from "../core/async/in_turns.ts";
import { concat, uint } from "../keys/bytes.ts";
import { hpkeSeal } from "./hpke_node.ts";
import type { HpkeSeal, Sealed } from "./primitives.ts";

/** Sealings that a thread is given at once, about 5 ms of work. */
const BATCH = 32;
const MOST_THREADS = 4;
/** Tells the threads of this file from any other that imports it. */
const PURPOSE = "unibus sealing";

/** A sealing that is waited for. */
interface Wanted {
  input: [kexPub: Uint8Array, info: Uint8Array, plaintext: Uint8Array];
  resolve(sealed: Sealed): void;
  reject(error: unknown): void;
}

/** Runs `work` with an `hpkeSeal` that uses threads; they end with it. */
export async function withThreads<T>(work: (hpkeSeal: HpkeSeal) => Promise<T>): Promise<T> {
  const threads = new Threads();
  try {
    await threads.start(availableParallelism());
    return await work((...input) => threads.seal(input));
  } finally {
    threads.end();
  }
}

/** Whether threads can run this file: not from a bundle, of which they would run all. */
function canStart(url: string): boolean {
  if (!/\/hpke_threads\.[jt]s$/.test(url)) return false;
  const { permissions } = (globalThis as { Deno?: Partial<typeof Deno> }).Deno ?? {};
  if (permissions === undefined || !url.startsWith("file:")) return true;
  // Otherwise Deno asks the user.
  return permissions.querySync({ name: "read", path: fileURLToPath(url) }).state === "granted";
}

/** Distributes sealings among threads. */
export class Threads {
  readonly #url: string;
  readonly #threads = new Set<Thread>();
  #batch: Wanted[] = [];

  /** @param url What the threads run */
  constructor(url: string = import.meta.url) {
    this.#url = url;
  }

  /** Number of threads. */
  get size(): number {
    return this.#threads.size;
  }

  /** Starts up to `count` threads. */
  async start(count: number): Promise<void> {
    if (!canStart(this.#url)) return;
    for (let i = 0; i < Math.min(count, MOST_THREADS); i++) {
      try {
        const thread: Thread = new Thread(this.#url, (left) => {
          this.#threads.delete(thread);
          left.forEach(sealHere);
        });
        this.#threads.add(thread);
      } catch {
        // The system may refuse more threads.
        return;
      }
      // To start one takes 10 ms and more.
      await nextTurn();
    }
  }

  /** See {@link HpkeSeal}. Sealings of the same turn are done together. */
  seal(input: Wanted["input"]): Promise<Sealed> {
    return new Promise((resolve, reject) => {
      this.#batch.push({ input, resolve, reject });
      if (this.#batch.length === 1) setImmediate(() => this.#send());
      else if (this.#batch.length === BATCH) this.#send();
    });
  }

  #send(): void {
    const batch = this.#batch;
    if (batch.length === 0) return;
    this.#batch = [];
    const [thread] = [...this.#threads].sort((a, b) => a.load - b.load);
    if (thread === undefined) sealHere(batch);
    else thread.give(batch);
  }

  /** Ends the threads. */
  end(): void {
    for (const it of this.#threads) it.end();
  }
}

/** Seals in this process, in a turn of its own. */
function sealHere(batch: readonly Wanted[]): void {
  setImmediate(() => {
    for (const { input, resolve, reject } of batch) {
      try {
        resolve(hpkeSeal(...input));
      } catch (error) {
        reject(error);
      }
    }
  });
}

class Thread {
  readonly #worker: { postMessage(value: unknown): void; terminate(): unknown };
  /** What it was given and has not answered, in order. */
  #given: Wanted[][] = [];

  /** @param onFailure Called with what it has not done */
  constructor(url: string, onFailure: (left: Wanted[][]) => void) {
    const take = (answer: Uint8Array | null) => {
      const batch = this.#given.shift();
      // In Node, what it has answered before it failed comes after its error.
      if (batch === undefined) return;
      // One of them cannot be sealed for; this process finds out which.
      if (answer === null) return sealHere(batch);
      const parts = apart(answer);
      for (const [i, { resolve }] of batch.entries()) {
        resolve({ enc: parts[2 * i]!, ciphertext: parts[2 * i + 1]! });
      }
    };
    const fail = () => {
      onFailure(this.#given);
      this.#given = [];
    };
    // Node has no `Worker`. Deno has both, and starts its own in a third of the time.
    if ("Worker" in globalThis) {
      const worker = new Worker(url, { type: "module", name: PURPOSE });
      worker.onmessage = ({ data }) => take(data);
      worker.onerror = (event) => {
        event.preventDefault();
        fail();
      };
      this.#worker = worker;
    } else {
      const worker = new NodeWorker(new URL(url), { workerData: PURPOSE });
      worker.on("message", take).on("error", fail).on("exit", fail);
      this.#worker = worker;
    }
  }

  /** Number of batches that it works on. */
  get load(): number {
    return this.#given.length;
  }

  give(batch: Wanted[]): void {
    this.#given.push(batch);
    this.#worker.postMessage(together(batch.flatMap((it) => it.input)));
  }

  end(): void {
    this.#worker.terminate();
  }
}

/** Joins parts of at most 65,535 bytes: a message of many is slow. */
function together(parts: readonly Uint8Array[]): Uint8Array {
  return concat(...parts.flatMap((it) => [uint(it.length, 2), it]));
}

function apart(bytes: Uint8Array): Uint8Array[] {
  const parts: Uint8Array[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  for (let at = 0; at < bytes.length;) {
    const end = at + 2 + view.getUint16(at);
    parts.push(bytes.subarray(at + 2, end));
    at = end;
  }
  return parts;
}

/** What a thread answers: the sealed bytes, or `null` if one of them cannot be sealed for. */
function answerTo(wanted: Uint8Array): Uint8Array | null {
  const parts = apart(wanted);
  const sealed: Uint8Array[] = [];
  try {
    for (let at = 0; at < parts.length; at += 3) {
      const { enc, ciphertext } = hpkeSeal(parts[at]!, parts[at + 1]!, parts[at + 2]!);
      sealed.push(enc, ciphertext);
    }
    return together(sealed);
  } catch {
    return null;
  }
}

interface Port {
  onmessage: ((message: { data: Uint8Array }) => void) | null;
  postMessage(answer: Uint8Array | null): void;
}

if (workerData === PURPOSE || (globalThis as { name?: unknown }).name === PURPOSE) {
  const port = (parentPort ?? globalThis) as unknown as Port;
  port.onmessage = ({ data }) => port.postMessage(answerTo(data));
}
