/**
 * Directories, records and other processes for the tests of SQLite files.
 *
 * @module
 */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { TextLineStream } from "./lines.ts";
import { isStoreError, type StoreErrorCode } from "../../src/core/errors.ts";
import type { StoreRecord } from "../../src/core/model.ts";

/** 64 hex digits that depend on nothing but the name. */
export function hex(name: string | number): string {
  return createHash("sha256").update(String(name)).digest("hex");
}

/** A new user's fields. */
export function person(name: string | number): { signPub: string; kexPub: string; handle: string } {
  return { signPub: hex(`sign ${name}`), kexPub: hex(`kex ${name}`), handle: `user ${name}` };
}

/** A new room's fields: encrypted, `members` people, the first of them the owner. */
export function newRoom(id: string, members = 2) {
  const [owner, ...others] = Array.from({ length: members }, (_, i) => {
    const { signPub, kexPub } = person(`${id} ${i}`);
    return { endpoint: signPub, kexPub };
  });
  return {
    id,
    subject: `unibus.${id}`,
    owner: owner!,
    members: others,
    sealedKeys: [owner!, ...others].map(({ endpoint }) => ({
      endpoint,
      sealedKey: new Uint8Array(80).fill(id.length),
    })),
  };
}

/** Runs `work` with a directory of its own. */
export async function inDir(work: (dir: string) => unknown): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "unibus-sqlite-" });
  try {
    await work(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** Every file of a directory with its bytes' hash and its time of change. */
export function filesOf(dir: string): Record<string, string> {
  return Object.fromEntries(
    readdirSync(dir).sort().map((name) => {
      const path = `${dir}/${name}`;
      const { mtimeMs, mode } = statSync(path);
      const bytes = createHash("sha256").update(readFileSync(path)).digest("hex");
      return [name, `${bytes} ${mtimeMs} ${mode}`];
    }),
  );
}

/** Asserts that something fails with a code, and returns its message. */
export async function failsWith(
  code: StoreErrorCode,
  work: () => unknown,
  message?: RegExp,
): Promise<string> {
  let result;
  try {
    result = await work();
  } catch (error) {
    assert.ok(isStoreError(error), `a StoreError, found ${error}`);
    assert.equal(error.code, code, error.message);
    if (message !== undefined) assert.match(error.message, message);
    return error.message;
  }
  throw new Error(`${code} was expected, found ${JSON.stringify(result)}`);
}

/** All records of an iterable. */
export async function gather(
  records: AsyncIterable<StoreRecord> | Iterable<StoreRecord>,
): Promise<StoreRecord[]> {
  const all: StoreRecord[] = [];
  for await (const it of records) all.push(it);
  return all;
}

const CHILD = new URL("../sqlite/child.ts", import.meta.url).pathname;

/** Another process at work on a file; see `sqlite/child.ts` for what it can do, unless another script is named. */
export class Child implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #lines: ReadableStreamDefaultReader<string>;
  readonly #stdin: WritableStreamDefaultWriter<Uint8Array>;
  #ended = false;

  constructor(task: string[], options: { wrap?: string[]; script?: string } = {}) {
    const [program, ...args] = [
      ...(options.wrap ?? []),
      Deno.execPath(),
      "run",
      "-A",
      "--no-check",
      options.script ?? CHILD,
      ...task,
    ];
    this.#process = new Deno.Command(program!, {
      args,
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    this.#lines = this.#process.stdout.pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream()).getReader();
    this.#stdin = this.#process.stdin.getWriter();
  }

  /** The next line it prints. */
  async line(): Promise<string> {
    const { value } = await this.#lines.read();
    if (value === undefined) throw new Error("The other process ended without an answer");
    return value;
  }

  /** Lets it go on. */
  async go(): Promise<void> {
    await this.#stdin.write(new TextEncoder().encode("go\n"));
  }

  /** Kills it. */
  async kill(): Promise<void> {
    this.#process.kill("SIGKILL");
    await this[Symbol.asyncDispose]();
  }

  /** Lets it end, and waits until it has. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    await this.#stdin.close().catch(() => {});
    await this.#lines.cancel();
    await this.#process.status;
  }
}
