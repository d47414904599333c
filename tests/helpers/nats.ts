/**
 * NATS servers for tests: real ones, each with a store of its own, gone at the end of the test.
 *
 * @module
 */

import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { isStoreError } from "../../src/core/errors.ts";
import { ensureNatsServer, type NatsBinary } from "../../src/nats/server/binary.ts";
import {
  type NatsCluster,
  type NatsServer,
  type NatsServerOptions,
  startNatsServer,
} from "../../src/nats/server/server.ts";

let binary: Promise<NatsBinary> | undefined;

/** The nats-server that tests run; installed when there is none. */
export function natsBinary(): Promise<NatsBinary> {
  binary ??= ensureNatsServer({ log: (line) => console.error(line) });
  return binary;
}

/** A server for a test, with the directory its store is in. */
export type TestServer = NatsServer & { readonly directory: string };

/** What a test may change; `jetstream: false` is a server without JetStream. */
export type TestServerOptions = Omit<NatsServerOptions, "jetstream"> & {
  jetstream?: Partial<NatsServerOptions["jetstream"] & object> | false;
};

/** Starts a server with JetStream on a port of its own, which it keeps when it is restarted. */
export function testServer(options: TestServerOptions = {}): Promise<TestServer> {
  return retryTaken(async () => {
    const [port] = await freePorts(1);
    return start({ port: port!, ...options });
  });
}

/** What a test may change; ports and routes are the cluster's own matter. */
export type TestClusterOptions = Omit<TestServerOptions, "cluster" | "port" | "serverName"> & {
  cluster?: Partial<Omit<NatsCluster, "port" | "routes">>;
  /** Whether to wait until JetStream has a leader; true by default. */
  waitReady?: boolean;
};

/** A running cluster. */
export interface TestCluster extends AsyncDisposable {
  readonly servers: readonly TestServer[];
  /** The URLs of all its servers. */
  readonly urls: string[];
  /** The server that leads JetStream in it now, if any. */
  leader(): Promise<TestServer | undefined>;
  /** Waits until JetStream has a leader and every running server is current. */
  ready(timeout?: number): Promise<void>;
}

/**
 * Starts `n` clustered servers. They are ready when this returns; with `waitReady: false` they only
 * run, and JetStream may have no leader yet.
 */
export function testCluster(
  n: number,
  { waitReady = true, ...options }: TestClusterOptions = {},
): Promise<TestCluster> {
  return retryTaken(async () => {
    const ports = await freePorts(2 * n);
    const routePorts = ports.slice(n);
    const started = await Promise.allSettled(
      routePorts.map((routePort, i) =>
        start({
          port: ports[i]!,
          serverName: `n${i + 1}`,
          monitoringPort: -1,
          ...options,
          cluster: {
            name: "test",
            ...options.cluster,
            routes: routePorts.filter((other) => other !== routePort || n === 1)
              .map((other) => `127.0.0.1:${other}`),
            port: routePort,
          },
        })
      ),
    );
    const servers = started.filter((s) => s.status === "fulfilled").map((s) => s.value);
    const cluster = new Cluster(servers);
    try {
      const failed = started.find((s) => s.status === "rejected");
      if (failed !== undefined) throw failed.reason;
      if (waitReady) await cluster.ready();
      return cluster;
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
  });
}

class Cluster implements TestCluster {
  readonly servers: readonly TestServer[];

  constructor(servers: readonly TestServer[]) {
    this.servers = servers;
  }

  get urls(): string[] {
    return this.servers.map((server) => server.url);
  }

  async leader(): Promise<TestServer | undefined> {
    for (const server of this.servers.filter((s) => s.running)) {
      const name = (await monitor(server, "/jsz"))?.meta_cluster?.leader;
      if (name) return this.servers[Number(name.slice(1)) - 1];
    }
    return undefined;
  }

  async ready(timeout = 120_000): Promise<void> {
    const deadline = Date.now() + timeout;
    const running = this.servers.filter((server) => server.running);
    // The server tells nobody when it becomes current, so it has to be asked.
    while (!(await Promise.all(running.map((s) => this.#isReady(s)))).every(Boolean)) {
      if (Date.now() > deadline) {
        throw new Error(`The cluster was not ready in ${timeout} ms:\n${running[0]?.logs()}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async #isReady(server: TestServer): Promise<boolean> {
    const health = await monitor(server, "/healthz");
    if (health?.status !== "ok") return false;
    const meta = (await monitor(server, "/jsz"))?.meta_cluster;
    return Boolean(meta?.leader) && meta?.cluster_size === this.servers.length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.servers.map((server) => server[Symbol.asyncDispose]()));
  }
}

interface Monitored {
  status?: string;
  meta_cluster?: { leader?: string; cluster_size?: number };
}

async function monitor(server: NatsServer, path: string): Promise<Monitored | undefined> {
  try {
    const response = await fetch(`${server.monitoringUrl}${path}`);
    return await response.json();
  } catch {
    return undefined; // Not up, or just gone.
  }
}

async function start(options: TestServerOptions): Promise<TestServer> {
  const { path } = await natsBinary();
  const directory = await mkdtemp(join(tmpdir(), "unibus-test-nats-"));
  const { jetstream = {}, ...rest } = options;
  try {
    const server = await startNatsServer({
      binary: path,
      // Many tests start at once on few cores.
      startTimeout: 60_000,
      ...rest,
      ...(jetstream === false
        ? {}
        : { jetstream: { storeDir: join(directory, "store"), ...jetstream } }),
    });
    const dispose = server[Symbol.asyncDispose].bind(server);
    return Object.assign(server, {
      directory,
      [Symbol.asyncDispose]: async () => {
        await dispose();
        await rm(directory, { recursive: true, force: true });
      },
    });
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
}

/**
 * Pauses a server by SIGSTOP, and waits until it stands still: on a busy machine its threads may go on for
 * a while and answer what comes next.
 */
export async function pauseServer(server: TestServer): Promise<void> {
  server.kill("SIGSTOP");
  if (process.platform !== "linux") return;
  const tasks = `/proc/${server.pid}/task`;
  const isStill = async (id: string) => {
    const stat = await readFile(`${tasks}/${id}/stat`, "utf8").catch(() => ") T ");
    return stat.slice(stat.lastIndexOf(")")).startsWith(") T ");
  };
  while (!(await Promise.all((await readdir(tasks)).map(isStill))).every(Boolean)) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** The UDP sockets of {@link takePort}. */
const taken: UdpSocket[] = [];
/** How far their ports are above those that they stand for: a server of HTTP/3 listens on UDP too. */
const UDP_ABOVE = 22_000;

/**
 * Takes a port until this file of tests ends; returns `false` if another one has it, in any process. A
 * server may listen on it much later, and be down between two starts, so a UDP port stands for it.
 */
export async function takePort(port: number): Promise<boolean> {
  const socket = createSocket("udp4").unref();
  try {
    const bound = once(socket, "listening");
    socket.bind({ port: port + UDP_ABOVE, address: "127.0.0.1", exclusive: true });
    await bound;
    taken.push(socket);
    return true;
  } catch {
    return false;
  }
}

/**
 * Ports nobody listens on, and that no other test is given. They lie below the range that systems hand
 * out for outgoing connections: from there a port could be taken while its server is down between two
 * starts.
 */
export async function freePorts(n: number): Promise<number[]> {
  const held: Server[] = [];
  const ports: number[] = [];
  while (ports.length < n) {
    const port = 10_000 + Math.floor(Math.random() * 22_000);
    if (!await takePort(port)) continue;
    const server = createServer();
    try {
      const listening = once(server, "listening");
      server.listen({ port, host: "127.0.0.1", exclusive: true });
      await listening;
      held.push(server);
      ports.push(port);
    } catch { /* Taken: try another. */ }
  }
  for (const server of held) {
    const closed = once(server, "close");
    server.close();
    await closed;
  }
  return ports;
}

/** Tries again with other ports when somebody took one between our look and the server's start. */
async function retryTaken<T>(attempt: () => Promise<T>): Promise<T> {
  for (let left = 4;; left--) {
    try {
      return await attempt();
    } catch (error) {
      const taken = isStoreError(error, "unavailable") && /already in use/.test(error.message);
      if (!taken || left === 0) throw error;
    }
  }
}
