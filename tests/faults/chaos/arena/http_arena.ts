/**
 * Nodes that are a `membershipd` each, asked over HTTP by clients that sign with keys of their own;
 * some of them also stay connected to NATS.
 *
 * @module
 */

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { diagnose, isStoreError, type Store } from "../../../../mod.ts";
import {
  type Client,
  createClient,
  type Identity,
  identityFromSeed,
} from "../../../../src/client/mod.ts";
import { connectNats } from "../../../../src/nats/connection/connect.ts";
import { createNkey } from "../../../../src/nats/mod.ts";
import { type TestNode, type TestNodes, testNodes } from "../../../cluster/kit.ts";
import { freePorts, natsBinary } from "../../../helpers/nats.ts";
import { isAlive, readyz } from "../../../cli/serve/kit.ts";
import { BusClient } from "./bus_client.ts";
import { SmallDisk } from "./disk.ts";
import { type Ending, endingOf, type Json, type Recorder } from "../judge/history.ts";
import { Links, type LinkState } from "./links.ts";
import type { NodeClient } from "../load.ts";
import { hexOf, perform } from "../ops.ts";
import { type Arena, type Fault, type FaultContext, replicated } from "../run.ts";

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
      const ending = endingOf(error);
      // A no of who may do what, which may rest on what is a while old, and tells nothing of the room.
      const isNo = "error" in ending && ending.message.includes("or whoever asks is not in it");
      return isNo ? { ...ending, error: "forbidden" } : ending;
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
      case "history":
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
    deleteUser: (signPub) => client.deleteUser(signPub, { keepMemberships: true }),
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

/** What a fault works on. */
interface Scene extends FaultContext {
  nodes: readonly TestNode[];
  links: Links;
  disk: SmallDisk | null;
  start: (node: TestNode) => Promise<void>;
  /** The node that leads the stream. */
  leader: () => Promise<TestNode | null>;
}

type Kind = (scene: Scene) => Promise<() => Promise<void>>;

function anyNode({ nodes, random }: Scene): TestNode {
  return nodes[Math.floor(random() * nodes.length)]!;
}

/** Tells when something begins, and gives what undoes it and tells of that before. */
function told(
  { record }: Scene,
  name: string,
  nodes: readonly TestNode[],
  cut: readonly TestNode[],
  mend: () => Promise<void> | void,
): () => Promise<void> {
  const fault = { name, nodes: nodes.map((it) => it.name), cut: cut.map((it) => it.name) };
  record({ ...fault, phase: "begin" });
  return async () => {
    record({ ...fault, phase: "end" });
    await mend();
  };
}

function onNode(
  name: string,
  cut: boolean,
  hit: (node: TestNode) => Promise<void> | void,
  mend: (node: TestNode, scene: Scene) => Promise<void> | void,
): Kind {
  return async (scene) => {
    const node = anyNode(scene);
    await hit(node);
    return told(scene, name, [node], cut ? [node] : [], () => mend(node, scene));
  };
}

/** Cuts these off from the rest, and from each other when they are all. */
function partition(name: string, pick: (scene: Scene) => Promise<readonly TestNode[]>): Kind {
  return async (scene) => {
    const { nodes, links } = scene;
    const away = new Set(await pick(scene));
    for (const [i, a] of nodes.entries()) {
      for (const [j, b] of nodes.entries()) {
        const apart = away.size === nodes.length || away.has(a) !== away.has(b);
        if (i !== j && apart) links.set(i, j, { cut: true });
      }
    }
    return told(scene, name, [...away], [...away], () => links.heal());
  };
}

/** All links become bad. */
function badLinks(name: string, state: (random: () => number) => Partial<LinkState>): Kind {
  return (scene) => {
    const { nodes, links } = scene;
    const it = state(scene.random);
    for (const i of nodes.keys()) for (const j of nodes.keys()) if (i !== j) links.set(i, j, it);
    return Promise.resolve(told(scene, name, nodes, [], () => links.heal()));
  };
}

const start = (node: TestNode, scene: Scene) => scene.start(node);
const signal = (pid: (node: TestNode) => number, name: NodeJS.Signals) => (node: TestNode) => {
  const it = pid(node);
  if (it > 0 && isAlive(it)) process.kill(it, name);
};
const natsPid = (node: TestNode) => node.daemon?.natsPid() ?? 0;
const ownPid = (node: TestNode) => node.daemon?.process.pid ?? 0;

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
  restart_all: async (scene) => {
    const { nodes } = scene;
    await Promise.all(nodes.map((it) => it.stop("SIGKILL")));
    return told(scene, "restart_all", nodes, nodes, async () => {
      await Promise.all(nodes.map(scene.start));
    });
  },
  partition_one: partition("partition_one", (scene) => Promise.resolve([anyNode(scene)])),
  partition_leader: partition("partition_leader", async (scene) => [
    await scene.leader() ?? anyNode(scene),
  ]),
  partition_all: partition("partition_all", ({ nodes }) => Promise.resolve(nodes)),
  delay: badLinks("delay", (random) => ({ delay: 20 + random() * 200 })),
  loss: badLinks("loss", (random) => ({ loss: 0.02 + random() * 0.2 })),
  disk_full: (scene) => {
    const node = scene.nodes.at(-1)!;
    scene.disk!.fill();
    return Promise.resolve(told(scene, "disk_full", [node], [], async () => {
      scene.disk!.free();
      // A server that met a full disk keeps no streams until it is started anew.
      await node.stop("SIGTERM");
      await scene.start(node);
    }));
  },
};

/**
 * A nats-server that tells the others no address of its own: else they would find ways to each other
 * that go past the links. The managed one has no setting for that, and needs none.
 */
const HIDDEN = `#!/bin/sh
[ "$1" = -c ] || exec "$REAL_NATS_SERVER" "$@"
umask 077
set -e
sed 's|^  no_advertise: .*|&\\n  advertise: "127.0.0.1:1"|' "$2" |
  sed 's|^  sync_interval: .*|&\\n  max_file_store: 1073741824|' > "$2.hidden"
exec "$REAL_NATS_SERVER" -c "$2.hidden"
`;

/** How long a client waits; a request asks the store more than once, each time for 5 s at most. */
const REQUEST_MS = 8000;

/** Users that stay connected to NATS, on each node; the last one comes and goes all the time. */
const CONNECTED = 3;

/** Starts three nodes. */
export async function httpArena(
  faults: readonly string[] | undefined,
  log: (line: string) => void,
): Promise<Arena> {
  const wanted = new Set(faults ?? Object.keys(HTTP_FAULTS));
  if (wanted.has("disk_full") && !SmallDisk.isPossible()) {
    log("disk_full is left out: only root can make a small disk");
    wanted.delete("disk_full");
  }
  await using stack = new AsyncDisposableStack();
  const cluster: TestNodes = stack.use(await testNodes(3));
  const { nodes: daemons } = cluster;
  const last = daemons.at(-1)!;
  const disk = wanted.has("disk_full") ? stack.use(await SmallDisk.make(cluster.dir)) : null;
  const hidden = join(cluster.dir, "nats-server");
  await writeFile(hidden, HIDDEN, { mode: 0o755 });
  const env = { UNIBUS_NATS_SERVER: hidden, REAL_NATS_SERVER: (await natsBinary()).path };
  const links = stack.use(new Links());
  const ports = await freePorts(daemons.length ** 2);
  const linkPort = (from: number, to: number) => ports[from * daemons.length + to]!;
  const routePort = (node: TestNode) => {
    const args = node.args();
    return Number(args[args.indexOf("--cluster-port") + 1]);
  };
  const others = (i: number) => [...daemons.keys()].filter((it) => it !== i);
  for (const i of daemons.keys()) {
    for (const to of others(i)) await links.open(i, to, linkPort(i, to), routePort(daemons[to]!));
  }
  const startNode = async (node: TestNode) => {
    const i = daemons.indexOf(node);
    const routes = others(i).map((to) => `127.0.0.1:${linkPort(i, to)}`).join(",");
    const small = node === last && disk !== null;
    await node.start({
      env,
      instead: { "--routes": routes },
      more: [
        ...["--store", "jetstream", "--replicas", "3"],
        ...small ? ["--nats-store", join(disk.path, "jetstream")] : [],
      ],
    });
  };
  await Promise.all(daemons.map(startNode));
  const people = new People();
  const admin = people.add(`admin ${createNkey("user").publicKey}`);
  const buses: BusClient[] = [];
  let recorder: Recorder | null = null;
  const store = stack.use(await cluster.open(daemons, { opTimeout: 20_000 }));
  await store.addUser({ ...keys(admin), handle: "admin", role: "admin" });
  const connection = await connectNats({
    servers: daemons.map((it) => it.nats),
    nkeySeed: cluster.keys.service.seed,
  });
  stack.defer(() => connection.close());
  const leader = async () => {
    try {
      const msg = await connection.request("$JS.API.STREAM.INFO.KV_UNIBUS", "", { timeout: 2000 });
      const name = msg.json<Json>().cluster?.leader;
      return daemons.find((it) => it.name === name) ?? null;
    } catch {
      return null;
    }
  };
  const doctor = (repair: boolean) =>
    diagnose({
      servers: daemons.map((it) => it.nats),
      nkeySeed: cluster.keys.service.seed,
      opTimeout: 10_000,
      repair,
    });
  const watched = daemons.flatMap((node) =>
    Array.from({ length: CONNECTED }, (_, i) => people.add(`bus ${node.name} ${i}`).signPub)
  );
  const kinds = Object.entries(HTTP_FAULTS).filter(([name]) => wanted.has(name));
  const connections = () => buses.map((it) => ({ signPub: it.signPub, open: it.isOpen() }));
  const stores: Store[] = [];
  for (const node of daemons) {
    stores.push(stack.use(await cluster.open([node], { opTimeout: 20_000 })));
  }
  const nodes = daemons.map((node, i) => {
    const http = storeOver(node.http, people, admin, REQUEST_MS);
    return new HttpNode(node, http, stores[i]!, doctor, connections);
  });
  stack.defer(() => buses.forEach((it) => it.close()));
  const owned = stack.move();
  return {
    nodes,
    // What the server has; there is no flag for it.
    maxStaleness: 5000,
    opTimeout: REQUEST_MS,
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
        (context) => kind({ nodes: daemons, links, disk, start: startNode, leader, ...context }),
      ]),
    ),
    async begin(_round, _times, of) {
      // A round begins with nobody.
      for (const it of watched) {
        await store.deleteUser(it).catch((error: unknown) => {
          if (!isStoreError(error, "not_found")) throw error;
        });
      }
      recorder = of;
      if (buses.length > 0) return;
      for (const [i, signPub] of watched.entries()) {
        const node = nodes[Math.floor(i / CONNECTED)]!;
        const note = (attempt: () => Promise<boolean>) => {
          if (recorder === null) return attempt();
          const asked = { client: `bus ${i}`, node: node.id, op: "admission", args: { signPub } };
          return recorder.call(asked, attempt);
        };
        const restless = i % CONNECTED === CONNECTED - 1;
        buses.push(new BusClient(node.daemon.nats, people.get(signPub), { note, restless }));
      }
    },
    async end(ask) {
      await replicated(nodes);
      await ask(nodes[0]!, "repair");
      for (const op of ["snapshot", "history", "doctor"]) {
        for (const node of nodes) await ask(node, op);
      }
      await ask(nodes[0]!, "connections");
      recorder = null;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function keys({ signPub, kexPub }: Identity): { signPub: string; kexPub: string } {
  return { signPub, kexPub };
}
