/**
 * Judges where a control plane is by what file and bucket say themselves, and by which nodes write.
 *
 * @module
 */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import type { NatsConnection } from "@nats-io/transport-node";
import { createClient, type Identity } from "../../../src/client/mod.ts";
import { isStoreError } from "../../../src/core/errors.ts";
import { newUser } from "../../conformance/kit/kit.ts";
import { until } from "../../cli/serve/kit.ts";
import type { Load } from "../../bench/grow/load.ts";
import type { Place } from "./place.ts";
import {
  differences,
  isInBucket,
  rawBucket,
  rawConnect,
  rawFile,
  type RawMark,
  rawMark,
  rawRole,
  type Records,
} from "./raw.ts";

/** The name of the bucket. */
const BUCKET = "UNIBUS";
/** Interval of the looks at both sides, milliseconds. */
const LOOK_MS = 100;
/** How long the nodes may take to serve after a hit, milliseconds. */
const SERVE_MS = 90_000;

/** Where the control plane is. */
export type Side = "file" | "bucket";

/** Looks at both sides, beside the program. */
export class Judge implements AsyncDisposable {
  /** Moments at which both sides would have served. */
  readonly both: string[] = [];
  /** Number of looks that saw both sides. */
  looks = 0;
  readonly #place: Place;
  readonly #connection: NatsConnection;
  #running = true;
  #looking: Promise<void>;

  private constructor(place: Place, connection: NatsConnection) {
    this.#place = place;
    this.#connection = connection;
    this.#looking = this.#look();
  }

  /** Begins to look; n1 is not asked for the bucket, because alone it has another JetStream. */
  static async open(place: Place): Promise<Judge> {
    const servers = place.machines.slice(1).map((it) => it.nats);
    return new Judge(place, await rawConnect(servers, place.keys));
  }

  get #db(): string {
    return this.#place.machines[0].db;
  }

  /** Reads the mark until a leader answers. */
  async #mark(): Promise<RawMark | null> {
    let mark: RawMark | null = null;
    const fits = () =>
      rawMark(this.#connection, BUCKET).then((it) => (mark = it, true), () => false);
    await until(fits, "answer of the bucket's leader", SERVE_MS);
    return mark;
  }

  async #look(): Promise<void> {
    while (this.#running) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
      try {
        const before = await rawMark(this.#connection, BUCKET);
        const role = rawRole(this.#db);
        const after = await rawMark(this.#connection, BUCKET);
        this.looks++;
        // The file was read while the mark did not change.
        if (before?.revision !== after?.revision || !isInBucket(after)) continue;
        if (role.role === "primary" && !role.frozen) {
          this.both.push(JSON.stringify({ role, mark: after }));
        }
      } catch { /* Nobody leads the bucket, or the file is being replaced. */ }
    }
  }

  /** Which side it is; undefined while it is neither or both. */
  async #side(): Promise<Side | undefined> {
    const mark = await this.#mark();
    if (!existsSync(this.#db)) return undefined;
    const { role, frozen } = rawRole(this.#db);
    const inFile = role === "primary" && !frozen;
    if (inFile === isInBucket(mark)) return undefined;
    return inFile ? "file" : "bucket";
  }

  /** Waits until exactly one side serves: all its nodes write, and no other one does. */
  async settled(admin: Identity, load: Load): Promise<Side> {
    let side: Side | undefined;
    let writes: (string | true)[] = [];
    const fits = async () => {
      try {
        side = await this.#side();
      } catch {
        return false;
      }
      writes = await Promise.all(this.#place.machines.map((it) => write(it.http, admin, load)));
      if (side === "file") return writes[0] === true && writes.slice(1).every((it) => it !== true);
      return side === "bucket" && writes.every((it) => it === true);
    };
    await until(fits, "one side that serves", SERVE_MS).catch((error) => {
      throw new Error(
        `${error.message}: ${side ?? "neither or both"}, writes ${writes.join("; ")}`,
      );
    });
    return side!;
  }

  /** Requires that a side has everything that was answered, and nothing else. */
  async requireWhole(side: Side, before: Records, load: Load): Promise<number> {
    const found = side === "file" ? rawFile(this.#db) : await rawBucket(this.#connection, BUCKET);
    const wrong = differences(found, before, load.written, load.unknown);
    assert.deepEqual(wrong.slice(0, 10), [], `${wrong.length} records differ in the ${side}`);
    assert.deepEqual(this.both, [], "both sides would have served");
    return found.size;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#running = false;
    await this.#looking;
    await this.#connection.close();
  }
}

/** Writes at one node only; returns why it did not. */
async function write(url: string, identity: Identity, load: Load): Promise<true | string> {
  using client = createClient({ url, identity, learnNodes: false, retries: 0, timeout: 5_000 });
  const user = newUser();
  try {
    await client.addUser(user);
    load.written.set(user.signPub, true);
    return true;
  } catch (error) {
    load.unknown.add(user.signPub);
    return isStoreError(error) ? `${error.code} (${error.message})` : String(error);
  }
}
