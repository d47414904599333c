/**
 * What the benchmarks share: a server that syncs every write, files of realistic records, and the
 * same records moved into buckets.
 *
 * @module
 */

import { execFile } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { entriesOf } from "../../src/jetstream/records/values.ts";
import type { MoveReport } from "../../src/move/types.ts";
import { openSource } from "../../src/sqlite/file/source.ts";
import { type TestServer, testServer } from "../helpers/nats.ts";
import { writeDataset } from "../tools/dataset.ts";
import type { Pair } from "./bare.ts";

const MOVE = fileURLToPath(new URL("./move_child.ts", import.meta.url));

/** One move in a process of its own. */
export interface Moved {
  report: MoveReport;
  /** Peak memory of the process, bytes. */
  peak: number;
}

/** A running benchmark. */
export class World implements AsyncDisposable {
  readonly #files = new Map<number, string>();
  readonly #moved = new Map<number, Moved>();

  private constructor(
    /** The server. */
    readonly server: TestServer,
    /** Records of the large case. */
    readonly records: number,
    /** Records that were asked for; null for the default of each benchmark. */
    readonly asked: number | null,
  ) {}

  /** Starts the server. */
  static async open(records: number, asked: number | null = null): Promise<World> {
    return new World(await testServer({ jetstream: { syncAlways: true } }), records, asked);
  }

  /** Records of the small case. */
  get fewRecords(): number {
    return Math.min(10_000, Math.round(this.records / 10));
  }

  /** A file of about this many records. */
  file(records: number): string {
    let path = this.#files.get(records);
    if (path === undefined) {
      path = join(this.server.directory, `records-${records}.db`);
      writeDataset(path, { records, seed: "bench" });
      this.#files.set(records, path);
    }
    return path;
  }

  /** Name of the bucket that holds this many records. */
  bucket(records: number): string {
    return `records_${records}`;
  }

  /** The records moved into their bucket, once. */
  async moved(records: number): Promise<Moved> {
    let moved = this.#moved.get(records);
    if (moved === undefined) {
      moved = await this.move(records);
      this.#moved.set(records, moved);
    }
    return moved;
  }

  /** Moves the records into their bucket, again where they are there. */
  async move(records: number): Promise<Moved> {
    const args = ["run", "-A", MOVE, this.file(records), this.server.url, this.bucket(records)];
    const { stdout } = await promisify(execFile)(process.execPath, args);
    return JSON.parse(stdout);
  }

  /** The first entries of the file as the move writes them, at most `limit`. */
  pairs(records: number, limit: number): Pair[] {
    using source = openSource(this.file(records));
    const pairs: Pair[] = [];
    for (const it of source.records()) {
      pairs.push(...entriesOf(it));
      if (pairs.length >= limit) break;
    }
    return pairs.slice(0, limit);
  }

  /** Entries spread over the whole file. */
  sample(records: number, count: number): Pair[] {
    using source = openSource(this.file(records));
    const every = Math.max(1, Math.floor(records / count));
    const pairs: Pair[] = [];
    let at = 0;
    for (const it of source.records()) if (at++ % every === 0) pairs.push(...entriesOf(it));
    return pairs.slice(0, count);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const path of this.#files.values()) rmSync(path, { force: true });
    await this.server[Symbol.asyncDispose]();
  }
}
