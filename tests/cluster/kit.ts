/**
 * Nodes for tests of the cluster: `membershipd` processes with route TLS and a route secret, each with
 * files and ports of its own, started in any order and started again.
 *
 * @module
 */

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { openJetStream } from "../../src/jetstream/mod.ts";
import { answerPresence, type Presence } from "../../cli/cluster/presence.ts";
import { connectNats } from "../../src/nats/connection/connect.ts";
import { loadServiceKeys, type ServiceKeys } from "../../src/nats/mod.ts";
import type { Store } from "../../src/core/store.ts";
import { cli, documentOf, type Result } from "../cli/kit.ts";
import { freePorts, natsBinary } from "../helpers/nats.ts";
import { type Daemon, daemon, isAlive, readyz, until } from "../cli/serve/kit.ts";
import { testAuthority, type TestTls, testTls } from "../helpers/tls.ts";

/** A node; its process may be down. */
export interface TestNode {
  readonly name: string;
  /** The directory its files are in. */
  readonly dir: string;
  readonly nats: string;
  readonly http: string;
  /** Its process, while it runs. */
  daemon: Daemon | null;
  /** The flags it is started with. */
  args(options?: NodeOptions): string[];
  /** Starts it and waits for the first word that it serves. */
  start(options?: NodeOptions): Promise<Daemon>;
  /** Ends it, and its nats-server. */
  stop(signal?: "SIGTERM" | "SIGKILL"): Promise<void>;
}

/** How a node is started. */
export interface NodeOptions {
  /** Whether it is a node of the cluster; true by default. */
  clustered?: boolean;
  /** Flags besides. */
  more?: string[];
  /** Flags that take the place of others. */
  instead?: Record<string, string>;
  /** Variables of its environment besides. */
  env?: Record<string, string>;
}

/** A place for a cluster. */
export interface TestNodes extends AsyncDisposable {
  readonly dir: string;
  readonly nodes: TestNode[];
  readonly keysPath: string;
  readonly keys: ServiceKeys;
  readonly tls: TestTls;
  /** Flags with which commands reach the nodes: the first ones of these. */
  flags(...nodes: TestNode[]): string[];
  /** Opens the store over these nodes. */
  open(nodes: TestNode[], options?: { opTimeout?: number }): Promise<Store>;
}

/** How long a node may take to serve, milliseconds: others may be late. */
const START_MS = 120_000;

/** Makes a place for `n` nodes; none is started. */
export async function testNodes(n: number): Promise<TestNodes> {
  const dir = await mkdtemp(join(tmpdir(), "unibus-cluster-"));
  await natsBinary();
  const tls = await testTls();
  const ports = await freePorts(3 * n);
  const keysPath = join(dir, "keys.json");
  const keys = await loadServiceKeys(keysPath, { create: true });
  await writeFile(join(dir, "route.secret"), "hunter2-of-the-routes", { mode: 0o600 });
  const all = Array.from({ length: n }, (_, i) => i);
  const nodes = all.map((i): TestNode => {
    const [http, nats, route] = [0, 1, 2].map((it) => ports[it * n + i]!);
    const name = `n${i + 1}`;
    const others = all.filter((it) => it !== i).map((it) => `127.0.0.1:${ports[2 * n + it]}`);
    const node: TestNode = {
      name,
      dir: join(dir, name),
      http: `http://127.0.0.1:${http}`,
      nats: `nats://127.0.0.1:${nats}`,
      daemon: null,
      args({ clustered = true, more = [], instead = {} } = {}) {
        const flags: Record<string, string> = {
          "--http-port": String(http),
          "--nats-port": String(nats),
          "--service-keys": keysPath,
          ...clustered
            ? {
              "--bus-auth": "enforce",
              "--cluster-name": "bus",
              "--server-name": name,
              "--cluster-port": String(route),
              "--routes": others.join(","),
              "--cluster-user": "route",
              "--cluster-pass-file": join(dir, "route.secret"),
              "--route-tls-cert": tls.server.cert,
              "--route-tls-key": tls.server.key,
              "--route-tls-ca": tls.caFile,
            }
            : {},
          ...instead,
        };
        return [...Object.entries(flags).flat(), ...more];
      },
      async start(options) {
        assert.equal(node.daemon, null, `${name} runs`);
        return node.daemon = await daemon(
          node.dir,
          node.args(options),
          options?.env ?? {},
          START_MS,
        );
      },
      async stop(signal = "SIGTERM") {
        const it = node.daemon;
        if (it === null) return;
        node.daemon = null;
        await it.stop(signal);
        const pid = it.natsPid();
        if (pid > 0) await until(() => !isAlive(pid), `end of the nats-server of ${name}`);
      },
    };
    return node;
  });
  return {
    dir,
    nodes,
    keysPath,
    keys,
    tls,
    flags: (...which) => [
      ...which.flatMap(({ nats }) => ["--nats-url", nats]),
      ...["--service-keys", keysPath, "--connect-timeout", "30"],
    ],
    open: (which, options = {}) =>
      openJetStream({
        servers: which.map((it) => it.nats),
        nkeySeed: keys.service.seed,
        create: false,
        ...options,
      }),
    async [Symbol.asyncDispose]() {
      await Promise.all(nodes.map((it) => it.stop("SIGKILL")));
      await tls[Symbol.asyncDispose]();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** Calls a command, which must end well. */
export async function run(...args: string[]): Promise<Result> {
  const result = await tryRun(...args);
  assert.equal(result.code, 0, `${args.join(" ")}\n${result.stdout}${result.stderr}`);
  return result;
}

/** Calls a command. */
export async function tryRun(...args: string[]): Promise<Result> {
  const { path } = await natsBinary();
  return await cli(args, { env: { UNIBUS_NATS_SERVER: path } });
}

/** Calls a command that must end well, for its JSON document. */
// deno-lint-ignore no-explicit-any
export async function json(...args: string[]): Promise<any> {
  return documentOf(await run(...args, "--json"));
}

/** Waits until a node says that it is ready. */
export async function ready(node: TestNode, timeout = 60_000): Promise<void> {
  let last: unknown;
  try {
    await until(
      async () => {
        last = await readyz(node.http);
        return (last as { status: number } | null)?.status === 200;
      },
      `readiness of ${node.name}`,
      timeout,
    );
  } catch (error) {
    const events = node.daemon?.events().slice(-15).map((it) => JSON.stringify(it)).join("\n");
    throw new Error(`${(error as Error).message}: ${JSON.stringify(last)}\n${events}`);
  }
}

/** The digest of everything in a store that flags name. */
export async function digestOf(dir: string, ...flags: string[]): Promise<string> {
  const file = join(dir, `snapshot-${crypto.randomUUID()}.ndjson`);
  const { digests } = await json("snapshot", "export", file, ...flags);
  await rm(file);
  return digests.all;
}

/** Writes a foreign authority's certificate for a node on loopback, and its key. */
export async function foreignTls(dir: string): Promise<{ cert: string; key: string; ca: string }> {
  const authority = testAuthority("somebody else");
  const { cert, key } = authority.issue("stranger");
  const files = { cert: join(dir, "f.pem"), key: join(dir, "f.key"), ca: join(dir, "f-ca.pem") };
  await writeFile(files.cert, cert);
  await writeFile(files.key, key, { mode: 0o600 });
  await writeFile(files.ca, authority.cert);
  return files;
}

/** Whether the long forms are asked for. */
export const LONG = Boolean(process.env.UNIBUS_LONG);
/** Whether what needs more of the machine is asked for. */
export const CLUSTER = LONG || Boolean(process.env.UNIBUS_CLUSTER);

/** Answers as `membershipd` beside the node at `url` does, until it is disposed of. */
export async function present(
  url: string,
  nkeySeed: string,
  answer: Partial<Presence> = {},
): Promise<AsyncDisposable> {
  const connection = await connectNats({ servers: url, nkeySeed, bootstrapTimeout: 30_000 });
  const node = connection.info!.server_name;
  answerPresence(
    connection,
    () => Promise.resolve({ node, bucket: "UNIBUS", keys: "same", ...answer }),
  );
  await connection.flush();
  return { [Symbol.asyncDispose]: () => connection.close() };
}
