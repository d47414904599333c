/**
 * Three nats-servers that stay, the process n1 that serves and moves a control plane between its file and
 * their bucket, and who else uses it.
 *
 * @module
 */

import { readdirSync, rmSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { openSqlite } from "../../../../mod.ts";
import { within } from "../../../../src/core/async/wait.ts";
import type { NatsServer } from "../../../../src/nats/server/server.ts";
import { populate } from "../../../move/kit.ts";
import { ChaosCluster } from "../../chaos/arena/cluster.ts";
import { SmallDisk } from "../../chaos/arena/disk.ts";
import type { Links } from "../../chaos/arena/links.ts";
import { isInBucket, rawBucket, rawFile, rawMark, rawRole, type Records } from "../raw.ts";
import { Ledger } from "./ledger.ts";
import { Node } from "./node.ts";
import { another, beside, Looks, type Peer } from "./peers.ts";

const BUCKET = "UNIBUS";
/** Tries of reading the bucket, and how long one may take, milliseconds. */
const READS = 6;
const READ_MS = 20_000;
/** Size of the disk of n1's files: a move wants 32 free, and each leaves a file until it is tidied. */
const FILES_MB = 128;

/** Where the control plane is. */
export type Side = "file" | "bucket";

/** What a run has. */
export class World implements AsyncDisposable {
  readonly cluster: readonly NatsServer[];
  readonly links: Links;
  /** The disk of n1's file and of the third server; null where none can be made. */
  readonly disk: SmallDisk | null;
  readonly serverDisk: SmallDisk | null;
  readonly ledger: Ledger;
  readonly beside: Peer;
  readonly another: Peer;
  readonly looks: Looks;
  readonly connection: NatsConnection;
  readonly db: string;
  node!: Node;
  #starts = 0;
  readonly #own: AsyncDisposableStack;

  private constructor(
    parts: Pick<World, "disk" | "ledger" | "beside" | "another" | "looks" | "connection" | "db">,
    cluster: ChaosCluster,
    own: AsyncDisposableStack,
  ) {
    this.cluster = cluster.nodes.map((it) => it.server);
    this.links = cluster.links;
    this.serverDisk = cluster.nodes[2]!.disk;
    this.disk = parts.disk;
    this.ledger = parts.ledger;
    this.beside = parts.beside;
    this.another = parts.another;
    this.looks = parts.looks;
    this.connection = parts.connection;
    this.db = parts.db;
    this.#own = own;
  }

  /** Starts everything, with the control plane in a file. */
  static async open(): Promise<World> {
    await using stack = new AsyncDisposableStack();
    const canFill = SmallDisk.isPossible();
    const cluster = stack.use(await ChaosCluster.start({ nodes: 3, smallDisk: canFill }));
    const directory = join(cluster.directory, "n1-files");
    await mkdir(directory);
    const disk = canFill ? stack.use(await SmallDisk.make(directory, FILES_MB)) : null;
    const db = join(disk?.path ?? directory, "unibus.db");
    {
      await using store = openSqlite(db);
      await populate(store);
    }
    const ledger = new Ledger(rawFile(db));
    const [, n2, n3] = cluster.nodes.map((it) => it.server.url) as [string, string, string];
    const connection = await connect({
      servers: [n2, n3],
      maxReconnectAttempts: -1,
      reconnectTimeWait: 200,
      pingInterval: 1000,
      timeout: 2000,
    });
    stack.defer(() => connection.close());
    const parts = {
      ...{ disk, ledger, connection, db },
      looks: stack.use(new Looks(connection, db, BUCKET)),
      beside: stack.use(beside(db, ledger)),
      another: stack.use(await another(n2, BUCKET, ledger)),
    };
    const world = new World(parts, cluster, stack.move());
    world.#own.defer(async () => {
      world.node.signal("SIGKILL");
      await world.node.ended;
    });
    world.start();
    return world;
  }

  /** Starts n1; the former one has ended. */
  start(): void {
    this.node = new Node({
      name: `p${++this.#starts}`,
      db: this.db,
      follower: `${this.db}-follower`,
      servers: this.cluster[0]!.url,
      bucket: BUCKET,
      replicas: 3,
      pause: 15,
    }, this.ledger);
  }

  /** Which side serves by what both say; undefined while it is neither or both. */
  async side(): Promise<Side | undefined> {
    const mark = await rawMark(this.connection, BUCKET);
    const { role, frozen } = rawRole(this.db);
    const inFile = role === "primary" && !frozen;
    if (inFile === isInBucket(mark)) return undefined;
    return inFile ? "file" : "bucket";
  }

  /** What the sides say, for a failure. */
  async says(): Promise<string> {
    const mark = await rawMark(this.connection, BUCKET).catch((error) => String(error));
    const role = (() => {
      try {
        return rawRole(this.db);
      } catch (error) {
        return String(error);
      }
    })();
    return JSON.stringify({ role, mark });
  }

  /** Reads all records of a side. */
  async read(side: Side): Promise<Records> {
    if (side === "file") return rawFile(this.db);
    for (let tries = 1;; tries++) {
      try {
        return await within(READ_MS, rawBucket(this.connection, BUCKET), () => {
          throw new Error("Reading the bucket takes too long");
        });
      } catch (error) {
        // A server that was hit may not answer yet.
        if (tries === READS) throw error;
      }
    }
  }

  /** Removes the files that moves have left: the disk is small. */
  tidy(): void {
    const directory = join(this.db, "..");
    for (const name of readdirSync(directory)) {
      if (name.includes(".backup-")) rmSync(join(directory, name));
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#own.disposeAsync();
  }
}
