/**
 * Three nodes: each a nats-server and a client process of its own, which knows that server only.
 *
 * @module
 */

import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { type NatsServer, startNatsServer } from "../../../../src/nats/server/server.ts";
import { freePorts, natsBinary } from "../../../helpers/nats.ts";
import { SmallDisk } from "./disk.ts";
import { type Ending, endingOf, type Json } from "../judge/history.ts";
import { Links } from "./links.ts";
import type { NodeClient } from "../load.ts";
import { promotedFile } from "../ops.ts";

/** How nodes are set up. */
export interface ClusterOptions {
  nodes: number;
  /** Whether one node has a disk that can be filled. */
  smallDisk: boolean;
}

const CHILD = fileURLToPath(new URL("./node_child.ts", import.meta.url));

/** A node. */
export class ChaosNode implements NodeClient, AsyncDisposable {
  readonly name: string;
  readonly server: NatsServer;
  readonly disk: SmallDisk | null;
  #child: ChildProcess | undefined;
  #childEnded: Promise<void> = Promise.resolve();
  #processes = 0;
  #ready = false;
  #ids = 0;
  readonly #waiting = new Map<number, (ending: Ending) => void>();
  #errors = "";
  #options: Json;

  constructor(name: string, server: NatsServer, disk: SmallDisk | null) {
    this.name = name;
    this.server = server;
    this.disk = disk;
  }

  get id(): string {
    return `${this.name}#${this.#processes}`;
  }

  /** What its client wrote to stderr. */
  get errors(): string {
    return this.#errors;
  }

  /** Starts its client, and waits until that has opened its store. */
  async open(options: Json): Promise<void> {
    this.#options = { servers: this.server.url, ...options };
    await this.restartClient();
  }

  /** Starts its client anew. */
  async restartClient(): Promise<void> {
    await this.#childEnded;
    const args = ["run", "-A", "--no-check", CHILD, JSON.stringify(this.#options)];
    const child = spawn(Deno.execPath(), args, { stdio: ["pipe", "pipe", "pipe"] });
    this.#child = child;
    this.#processes++;
    child.stdin.on("error", () => {});
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.#errors = (this.#errors + text).slice(-8192);
    });
    const lines = createInterface({ input: child.stdout });
    const { promise: ready, resolve, reject } = Promise.withResolvers<void>();
    lines.on("line", (line) => {
      const { ready, id, ending } = JSON.parse(line);
      if (ready) {
        this.#ready = true;
        resolve();
      } else {
        this.#waiting.get(id)?.(ending);
        this.#waiting.delete(id);
      }
    });
    this.#childEnded = new Promise((done) => {
      child.once("close", () => {
        this.#ready = false;
        for (const it of this.#waiting.values()) it(LOST);
        this.#waiting.clear();
        reject(new Error(`The client of ${this.name} ended: ${this.#errors}`));
        done();
      });
    });
    await ready;
  }

  /** What a copy of its follower's file becomes when that is promoted; the client is not running. */
  async promoteFile(): Promise<Ending> {
    await this.#childEnded;
    const from: string = this.#options.follower;
    const path = `${from}-left-${this.#processes}`;
    try {
      for (const end of ["", "-wal"]) {
        if (existsSync(from + end)) await cp(from + end, path + end);
      }
      return { answer: await promotedFile(path) };
    } catch (error) {
      return endingOf(error);
    }
  }

  /** Sends its client a signal. */
  signalClient(signal: NodeJS.Signals): void {
    if (this.#child?.pid !== undefined) process.kill(this.#child.pid, signal);
  }

  /** Ends its client in order. */
  async close(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined) return;
    child.stdin!.end();
    const timer = setTimeout(() => process.kill(child.pid!, "SIGKILL"), 5000);
    await this.#childEnded;
    clearTimeout(timer);
  }

  call(op: string, args: Json, by?: string): Promise<Ending> {
    if (!this.#ready) return Promise.resolve(UNREACHABLE);
    const id = ++this.#ids;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.#child!.stdin!.write(`${JSON.stringify({ id, op, args, by })}\n`);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child?.pid !== undefined) {
      try {
        process.kill(this.#child.pid, "SIGKILL");
      } catch { /* Gone. */ }
    }
    await this.#childEnded;
    this.server.kill("SIGKILL");
    await this.server[Symbol.asyncDispose]();
    await this.disk?.[Symbol.asyncDispose]();
  }
}

/** No answer will come: the client was killed. */
const LOST: Ending = { error: "lost", message: "The client's process was killed" };
/** The client is not there: nothing was asked. */
const UNREACHABLE: Ending = { error: "unreachable", message: "The client's process is gone" };

/** The nodes and the network between them. */
export class ChaosCluster implements AsyncDisposable {
  readonly nodes: readonly ChaosNode[];
  readonly links: Links;
  readonly #directory: string;

  constructor(nodes: readonly ChaosNode[], links: Links, directory: string) {
    this.nodes = nodes;
    this.links = links;
    this.#directory = directory;
  }

  /** Starts the servers, from nothing. */
  static async start({ nodes: n, smallDisk }: ClusterOptions): Promise<ChaosCluster> {
    const { path } = await natsBinary();
    const directory = await mkdtemp(join(tmpdir(), "unibus-chaos-"));
    await using stack = new AsyncDisposableStack();
    stack.defer(() => rm(directory, { recursive: true, force: true }));
    const links = stack.use(new Links());
    const [...ports] = await freePorts(2 * n + n * n);
    const routePort = (i: number) => ports[n + i]!;
    const linkPort = (from: number, to: number) => ports[2 * n + from * n + to]!;
    const names = Array.from({ length: n }, (_, i) => i);
    for (const from of names) {
      for (const to of names.filter((it) => it !== from)) {
        await links.open(from, to, linkPort(from, to), routePort(to));
      }
    }
    const nodes = await Promise.all(names.map(async (i) => {
      const disk = smallDisk && i === n - 1 ? await SmallDisk.make(directory) : null;
      const routes = names.filter((it) => it !== i)
        .map((it) => `127.0.0.1:${linkPort(i, it)}`);
      const cluster = { name: "chaos", host: "127.0.0.1", port: routePort(i), routes };
      const server = await startNatsServer({
        binary: path,
        startTimeout: 60_000,
        port: ports[i]!,
        serverName: `n${i + 1}`,
        monitoringPort: -1,
        jetstream: {
          storeDir: disk?.path ?? join(directory, `n${i + 1}`),
          // So that a full disk is the first limit it meets.
          maxFileStore: 1 << 30,
        },
        cluster,
        // Nodes tell each other of further routes: these must not go past the links. The block stands
        // once more, as the settings that are typed have no place for it, and the last one counts.
        extra: `cluster: ${
          JSON.stringify({
            ...cluster,
            routes: routes.map((it) => `nats://${it}`),
            pool_size: -1,
            no_advertise: true,
            advertise: "127.0.0.1:1",
          })
        }`,
      });
      return stack.use(new ChaosNode(`n${i + 1}`, server, disk));
    }));
    const owned = stack.move();
    const cluster = new ChaosCluster(nodes, links, directory);
    cluster[Symbol.asyncDispose] = () => owned.disposeAsync();
    return cluster;
  }

  /** The node that leads the bucket's stream, as far as the nodes that answer know. */
  async leader(bucket: string): Promise<ChaosNode | null> {
    for (const node of this.nodes.filter((it) => it.server.running)) {
      const found = await monitor(node, "/jsz?accounts=true&streams=true");
      for (const account of found?.account_details ?? []) {
        const stream = account.stream_detail?.find((it: Json) => it.name === `KV_${bucket}`);
        const name = stream?.cluster?.leader;
        if (name) return this.nodes.find((it) => it.name === name) ?? null;
      }
    }
    return null;
  }

  /** The node that leads the servers, as far as the first one that answers knows. */
  async metaLeader(): Promise<ChaosNode | null> {
    for (const node of this.nodes.filter((it) => it.server.running)) {
      const name = (await monitor(node, "/jsz"))?.meta_cluster?.leader;
      if (name) return this.nodes.find((it) => it.name === name) ?? null;
    }
    return null;
  }

  /** Directory for what a run leaves behind. */
  get directory(): string {
    return this.#directory;
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

async function monitor(node: ChaosNode, path: string): Promise<Json> {
  try {
    const signal = AbortSignal.timeout(1000);
    return await (await fetch(`${node.server.monitoringUrl}${path}`, { signal })).json();
  } catch {
    return null;
  }
}
