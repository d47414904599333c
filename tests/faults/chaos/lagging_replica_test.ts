/**
 * A replica that has not come as far as what authorizations rest on: a list is not read from it, whoever
 * wrote what it lacks.
 *
 * @module
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as connectNatsTo } from "@nats-io/transport-node";
import { connect, createServer, type Socket } from "node:net";
import { openJetStream, type Store } from "../../../mod.ts";
import { freePorts } from "../../helpers/nats.ts";
import { until } from "../../cli/serve/kit.ts";
import { ChaosCluster } from "./arena/cluster.ts";
import { hexOf } from "./ops.ts";

/** A client's way to a server, which can be led to another one. */
class Way implements AsyncDisposable {
  readonly #server = createServer((socket) => this.#join(socket));
  readonly #sockets = new Set<Socket>();
  target: number;

  constructor(target: number) {
    this.target = target;
  }

  async open(port: number): Promise<string> {
    this.#server.listen({ host: "127.0.0.1", port });
    await once(this.#server, "listening");
    return `nats://127.0.0.1:${port}`;
  }

  /** Leads to another server from now on; who is connected has to connect again. */
  turn(target: number): void {
    this.target = target;
    for (const it of this.#sockets) it.destroy();
  }

  #join(socket: Socket): void {
    const upstream = connect({ host: "127.0.0.1", port: this.target });
    for (const it of [socket, upstream]) {
      this.#sockets.add(it);
      it.on("error", () => {});
      it.once("close", () => {
        this.#sockets.delete(it);
        socket.destroy();
        upstream.destroy();
      });
    }
    socket.pipe(upstream).pipe(socket);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const it of this.#sockets) it.destroy();
    const closed = once(this.#server, "close");
    this.#server.close();
    await closed;
  }
}

const portOf = ({ server }: { server: { url: string } }) => Number(new URL(server.url).port);
const memberOf = (name: string) => ({ endpoint: hexOf(name), kexPub: hexOf(`kex ${name}`) });

/** How old what the cache holds is, milliseconds; `Infinity` when it holds nothing. */
async function ageOf(store: Store): Promise<number> {
  const { checks } = await store.health();
  const { detail } = checks.find((it) => it.name === "cache")!;
  return Number(/(\d+) ms old/.exec(detail)?.[1] ?? Infinity);
}

Deno.test("a list is read from no replica that knows less than authorizations rest on", async () => {
  await using cluster = await ChaosCluster.start({ nodes: 3, smallDisk: false });
  const { nodes, links } = cluster;
  const bucket = "LAGGING";
  const options = { bucket, replicas: 3, opTimeout: 20_000 };
  await using writer = await openJetStream({
    ...options,
    servers: nodes.slice(0, 2).map((it) => it.server.url),
  });
  await using way = new Way(portOf(nodes[0]!));
  const servers = await way.open((await freePorts(1))[0]!);
  const connection = await connectNatsTo({ servers, ignoreClusterUpdates: true });
  await using stack = new AsyncDisposableStack();
  stack.defer(() => connection.close());
  await using reader = await openJetStream({ ...options, opTimeout: 3000, connection });
  const owner = memberOf("owner");
  await writer.createRoom({ id: "room", subject: "room", encrypted: false, owner });
  // The third has all there is, before it is cut off.
  const behind = nodes[2]!;
  await using there = await openJetStream({
    ...options,
    opTimeout: 3000,
    servers: behind.server.url,
  });
  await until(
    async () => {
      const page = await there.listRoomsForEndpoint(owner.endpoint).catch(() => null);
      return page?.items.length === 1;
    },
    "the replica of the third node",
    60_000,
  );
  for (const i of [0, 1]) {
    links.set(i, 2, { cut: true });
    links.set(2, i, { cut: true });
  }

  // Somebody else's write, after which the reader's cache has been found to be up to date.
  const added = memberOf("added");
  const insist = async (work: () => Promise<unknown>) => {
    for (;;) {
      const code = await work().then(() => "done", (error) => error.code);
      if (["done", "member_exists"].includes(code)) return;
      assert.equal(code, "unavailable");
    }
  };
  await insist(() => writer.addMember("room", added));
  const begun = performance.now();
  await reader.isAuthorized(owner.endpoint);
  await until(
    async () => await ageOf(reader) < performance.now() - begun,
    "a cache that knows of the write",
    60_000,
  );

  way.turn(portOf(behind));
  // Many at once: a try that a node out of reach is to answer has no answer at all.
  const ask = async (store: Store) =>
    await Promise.all(Array.from({ length: 40 }, async () => {
      const { items } = await store.listMembers("room").catch(() => ({ items: [] }));
      return items.map((it) => it.endpoint);
    }));
  const isOld = (found: string[]) => found.length > 0 && !found.includes(added.endpoint);
  await until(() => connection.info?.server_name === behind.name, "the other way", 60_000);
  const [known, unknown] = await Promise.all([ask(reader), ask(there)]);
  // What makes this a test: that replica answers, and does not have it.
  assert.ok(unknown.some(isOld), "The replica that is behind does not answer");
  assert.ok(!known.some(isOld), "A list was read from a replica that is behind");
  links.heal();
  await until(
    async () => (await ask(reader)).some((it) => it.includes(added.endpoint)),
    "a list with what was added",
    60_000,
  );
});
