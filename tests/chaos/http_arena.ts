/**
 * Nodes that are a `membershipd` each, asked over HTTP by clients that sign with keys of their own;
 * some of them also stay connected to NATS.
 *
 * @module
 */

import process from "node:process";
import { diagnose, isStoreError, type Store } from "../../mod.ts";
import {
  type Client,
  createClient,
  type Identity,
  identityFromSeed,
} from "../../src/client/mod.ts";
import { createNkey } from "../../src/nats/mod.ts";
import { type TestNode, type TestNodes, testNodes } from "../cluster/kit.ts";
import { isAlive, readyz } from "../helpers/serve.ts";
import { BusClient } from "./bus_client.ts";
import { type Ending, endingOf, type Json } from "./history.ts";
import type { NodeClient } from "./load.ts";
import { hexOf, perform } from "./ops.ts";
import { type Arena, type Fault, type FaultContext, replicated } from "./run.ts";

/** People whose private keys we have, by public key. */
class People {
  readonly #all = new Map<string, Identity>();

  add(name: string): Identity {
    const identity = identityFromSeed(Buffer.from(hexOf(`seed of ${name}`), "hex"));
    this.#all.set(identity.signPub, identity);
    return identity;
  }

  get(signPub: string): Identity {
    const it = this.#all.get(signPub);
    if (it === undefined) throw new Error(`Nobody has ${signPub}`);
    return it;
  }
}

/** A node as it is reached over HTTP. */
class HttpNode implements NodeClient {
  readonly name: string;
  readonly daemon: TestNode;
  readonly #store: Store;
  readonly #http: Store;
  readonly #doctor: (repair: boolean) => Promise<Json>;
  readonly #buses: () => Json;

  constructor(
    daemon: TestNode,
    http: Store,
    store: Store,
    doctor: (repair: boolean) => Promise<Json>,
    buses: () => Json,
  ) {
    this.name = daemon.name;
    this.daemon = daemon;
    this.#http = http;
    this.#store = store;
    this.#doctor = doctor;
    this.#buses = buses;
  }

  get id(): string {
    // Behind one address there is another process after each start.
    return `${this.name}#${this.daemon.daemon?.process.pid ?? 0}`;
  }

  async call(op: string, args: Json): Promise<Ending> {
    // Not told from the client's error: a refused connection may be its second try.
    if (this.daemon.daemon === null) return { error: "unreachable", message: "It is not started" };
    try {
      return { answer: (await this.#perform(op, args)) ?? null };
    } catch (error) {
      return endingOf(error);
    }
  }

  async #perform(op: string, args: Json): Promise<Json> {
    switch (op) {
      case "health":
        return { ok: (await readyz(this.daemon.http))?.status === 200 };
      case "doctor":
      case "repair":
        return await this.#doctor(op === "repair");
      case "connections":
        return this.#buses();
      case "audit":
      case "snapshot":
        return await perform(this.#store, op, args);
      default:
        return await perform(this.#http, op, args);
    }
  }
}

/** What clients have of a node, in the form of a store. */
function storeOver(url: string, people: People, admin: Identity, timeout: number): Store {
  const as = (identity: Identity): Client => createClient({ url, identity, timeout, retries: 0 });
  const client = as(admin);
  const part: Partial<Store> = {
    async isAuthorized(signPub) {
      using it = as(people.get(signPub));
      try {
        await it.me();
        return true;
      } catch {
        return false;
      }
    },
    addUser: (user) => client.addUser(user),
    getUser: (signPub) => client.getUser(signPub),
    revokeUser: (signPub) => client.revokeUser(signPub),
    restoreUser: (signPub) => client.restoreUser(signPub),
    deleteUser: (signPub) => client.deleteUser(signPub),
    createInvite: ({ createdBy: _, ...invite }) => client.createInvite(invite),
    getInvite: (id) => client.getInvite(id),
    cancelInvite: (id) => client.cancelInvite(id),
    async consumeInvite(token, { signPub, handle }) {
      using it = as(people.get(signPub));
      return await it.register(token, handle);
    },
    // Who asks owns it, with the key it is registered with.
    createRoom: ({ owner: _, ...room }) => client.createRoom(room),
    getRoom: (id) => client.getRoom(id),
    deleteRoom: (id) => client.deleteRoom(id),
    listMembers: (id, page) => client.listMembers(id, page),
    addMember: (id, member, key) => client.addMember(id, member, key),
    removeMember: (id, endpoint) => client.removeMember(id, endpoint),
    rekeyRoom: (id, rekey) => client.rekeyRoom(id, rekey),
  };
  return part as Store;
}

type Kind = (scene: FaultContext & { nodes: readonly TestNode[] }) => Promise<() => Promise<void>>;

function onNode(
  name: string,
  cut: boolean,
  hit: (node: TestNode) => Promise<void> | void,
  mend: (node: TestNode) => Promise<void> | void,
): Kind {
  return async ({ nodes, random, record }) => {
    const node = nodes[Math.floor(random() * nodes.length)]!;
    await hit(node);
    const fault = { name, nodes: [node.name], cut: cut ? [node.name] : [] };
    record({ ...fault, phase: "begin" });
    return async () => {
      record({ ...fault, phase: "end" });
      await mend(node);
    };
  };
}

const start = async (node: TestNode) => void await node.start(FLAGS);
const signal = (pid: (node: TestNode) => number, name: NodeJS.Signals) => (node: TestNode) => {
  const it = pid(node);
  if (it > 0 && isAlive(it)) process.kill(it, name);
};
const natsPid = (node: TestNode) => node.daemon?.natsPid() ?? 0;
const ownPid = (node: TestNode) => node.daemon?.process.pid ?? 0;
const FLAGS = { more: ["--store", "jetstream", "--replicas", "3"] };

/** Faults of `membershipd`, by name. */
export const HTTP_FAULTS: Readonly<Record<string, Kind>> = {
  kill: onNode("kill", true, (it) => it.stop("SIGKILL"), start),
  stop: onNode("stop", true, (it) => it.stop("SIGTERM"), start),
  // Its own supervisor brings it back.
  kill_nats: onNode("kill_nats", false, signal(natsPid, "SIGKILL"), () => {}),
  pause_nats: onNode("pause_nats", false, signal(natsPid, "SIGSTOP"), signal(natsPid, "SIGCONT")),
  pause_daemon: onNode(
    "pause_client",
    false,
    signal(ownPid, "SIGSTOP"),
    signal(ownPid, "SIGCONT"),
  ),
  restart_all: async ({ nodes, record }) => {
    await Promise.all(nodes.map((it) => it.stop("SIGKILL")));
    const names = nodes.map((it) => it.name);
    record({ name: "restart_all", nodes: names, cut: names, phase: "begin" });
    return async () => {
      record({ name: "restart_all", nodes: names, cut: names, phase: "end" });
      await Promise.all(nodes.map(start));
    };
  },
};

/** Users that stay connected to NATS, on each node. */
const CONNECTED = 2;

/** Starts three nodes. */
export async function httpArena(
  faults: readonly string[] | undefined,
  log: (line: string) => void,
): Promise<Arena> {
  log("over HTTP there are no partitions: the nodes' routes go past no relay");
  await using stack = new AsyncDisposableStack();
  const cluster: TestNodes = stack.use(await testNodes(3));
  await Promise.all(cluster.nodes.map((it) => it.start(FLAGS)));
  const people = new People();
  const admin = people.add(`admin ${createNkey("user").publicKey}`);
  const buses: BusClient[] = [];
  const store = stack.use(await cluster.open(cluster.nodes, { opTimeout: 20_000 }));
  await store.addUser({ ...keys(admin), handle: "admin", role: "admin" });
  const doctor = (repair: boolean) =>
    diagnose({
      servers: cluster.nodes.map((it) => it.nats),
      nkeySeed: cluster.keys.service.seed,
      opTimeout: 10_000,
      repair,
    });
  const watched = cluster.nodes.flatMap((node) =>
    Array.from({ length: CONNECTED }, (_, i) => people.add(`bus ${node.name} ${i}`).signPub)
  );
  const kinds = Object.entries(HTTP_FAULTS)
    .filter(([name]) => faults === undefined || faults.includes(name));
  const connections = () => buses.map((it) => ({ signPub: it.signPub, open: it.isOpen() }));
  const stores: Store[] = [];
  for (const node of cluster.nodes) {
    stores.push(stack.use(await cluster.open([node], { opTimeout: 20_000 })));
  }
  const nodes = cluster.nodes.map((node, i) => {
    const http = storeOver(node.http, people, admin, 8000);
    return new HttpNode(node, http, stores[i]!, doctor, connections);
  });
  stack.defer(() => buses.forEach((it) => it.close()));
  const owned = stack.move();
  return {
    nodes,
    load: {
      keyOf: (name) => people.add(name).signPub,
      owner: admin.signPub,
      // The server takes 60 registrations a minute.
      inviteSlowness: 25,
      pause: 40,
      watched,
    },
    faults: Object.fromEntries(
      kinds.map(([name, kind]): [string, Fault] => [
        name,
        (context) => kind({ nodes: cluster.nodes, ...context }),
      ]),
    ),
    async begin() {
      // A round begins with nobody.
      for (const it of watched) {
        await store.deleteUser(it).catch((error: unknown) => {
          if (!isStoreError(error, "not_found")) throw error;
        });
      }
      if (buses.length > 0) return;
      for (const [i, signPub] of watched.entries()) {
        const node = cluster.nodes[Math.floor(i / CONNECTED)]!;
        buses.push(new BusClient(node.nats, people.get(signPub)));
      }
    },
    async end(ask) {
      await replicated(nodes);
      await ask(nodes[0]!, "repair");
      for (const op of ["snapshot", "doctor"]) for (const node of nodes) await ask(node, op);
      await ask(nodes[0]!, "connections");
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function keys({ signPub, kexPub }: Identity): { signPub: string; kexPub: string } {
  return { signPub, kexPub };
}
