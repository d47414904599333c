/**
 * What the tests of live moves share: a checker that trusts none of our code, and stores to move.
 *
 * @module
 */

import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { Kvm } from "@nats-io/kv";
import { connect } from "@nats-io/transport-node";
import { openJetStream, type Store } from "../../../../mod.ts";
import { TextLineStream } from "../../../helpers/lines.ts";
import type { Place } from "../../kit.ts";

/** Opens the bucket that a store is moved to. */
export function openTarget(nats: Place["nats"]): Promise<Store> {
  return openJetStream({ ...nats, allowInProgress: true });
}

/** What a file and a bucket hold and say, read by raw SQL and a raw client. */
export interface Sides {
  /** `role`, whether writers are stopped, and the rows of records by their key in the bucket. */
  file: { role: string; frozen: boolean; users: Map<string, string> };
  /** The mark, and the values of users by key. */
  bucket: { state: string | null; users: Map<string, string> };
}

/** Reads both sides. */
export async function sidesOf(db: string, nats: Place["nats"]): Promise<Sides> {
  const file = new DatabaseSync(db, { readOnly: true });
  const nc = await connect({ servers: nats.servers });
  try {
    const role = file.prepare("SELECT role, frozen_at FROM file_role").get()!;
    const rows = file.prepare("SELECT sign_pub, handle FROM users").all();
    const kv = await new Kvm(nc).open(nats.bucket).catch(() => null);
    const users = new Map<string, string>();
    let state: string | null = null;
    for await (const { key, value } of kv === null ? [] : await kv.history({ key: ">" })) {
      const text = new TextDecoder().decode(value);
      if (text === "") continue;
      if (key === "meta.migration") state = JSON.parse(text).state;
      if (key.startsWith("users.")) users.set(key.slice(6), JSON.parse(text).handle);
    }
    return {
      file: {
        role: String(role.role),
        frozen: role.frozen_at !== null,
        users: new Map(rows.map((it) => [String(it.sign_pub), String(it.handle)])),
      },
      bucket: { state, users },
    };
  } finally {
    file.close();
    await nc.close();
  }
}

/** Which side serves writes, by what both say; exactly one must. */
export function servingSide({ file, bucket }: Sides): "file" | "bucket" {
  const isMoved = bucket.state === "complete";
  if (isMoved) assert.ok(file.role === "moved" || file.frozen, "both sides take writes");
  else assert.equal(file.role, "primary", "no side takes writes");
  return isMoved ? "bucket" : "file";
}

const CHILD = new URL("./child.ts", import.meta.url).pathname;

/** A process that moves a file or writes to it, see child.ts. */
export class Process {
  /** What it has printed. */
  readonly lines: string[] = [];
  /** Resolves when it has ended and all that it printed was read. */
  readonly ended: Promise<void>;
  readonly #process: Deno.ChildProcess;
  #waiting: (() => void)[] = [];
  #isOver = false;

  constructor(...task: string[]) {
    this.#process = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", CHILD, ...task],
      stdout: "piped",
    }).spawn();
    this.ended = this.#read();
  }

  /** Waits until it has printed a line that matches; returns it. */
  async until(pattern: RegExp): Promise<string> {
    for (;;) {
      const found = this.lines.find((it) => pattern.test(it));
      if (found !== undefined) return found;
      if (this.#isOver) {
        throw new Error(`It ended without ${pattern}:\n${this.lines.slice(-9).join("\n")}`);
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** Sends it a signal. */
  signal(signal: Deno.Signal): void {
    Deno.kill(this.#process.pid, signal);
  }

  /** Waits until it has stopped itself. */
  async stopped(): Promise<void> {
    await this.until(/^here/);
    // After its last line it may run for a moment.
    while (!/\) T /.test(await Deno.readTextFile(`/proc/${this.#process.pid}/stat`))) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** Kills it, unless it has ended. */
  kill(): void {
    try {
      this.#process.kill("SIGKILL");
    } catch {
      // It has ended.
    }
  }

  async #read(): Promise<void> {
    const lines = this.#process.stdout.pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream());
    for await (const line of lines) {
      this.lines.push(line);
      this.#wake();
    }
    await this.#process.status;
    this.#isOver = true;
    this.#wake();
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
