/**
 * What is done to the nodes, each with its undoing.
 *
 * @module
 */

import type { ChaosCluster, ChaosNode } from "./arena/cluster.ts";
import type { FaultContext } from "./run.ts";

/** What a fault works on. */
export interface Scene extends FaultContext {
  cluster: ChaosCluster;
  bucket: string;
}

/** Does its damage, and gives what undoes it. */
export type FaultKind = (scene: Scene) => Promise<() => Promise<void>>;

const names = (nodes: readonly ChaosNode[]) => nodes.map((it) => it.name);

function anyNode({ cluster, random }: Scene): ChaosNode {
  return cluster.nodes[Math.floor(random() * cluster.nodes.length)]!;
}

async function leader(scene: Scene): Promise<ChaosNode> {
  return await scene.cluster.leader(scene.bucket) ?? anyNode(scene);
}

/** Who cannot reach a majority when these cannot be reached. */
function cutBy(cluster: ChaosCluster, gone: readonly ChaosNode[]): string[] {
  const { nodes } = cluster;
  return names(gone.length * 2 < nodes.length ? gone : nodes);
}

/** Something that happens to some nodes' servers. */
function onServers(
  name: string,
  pick: (scene: Scene) => Promise<ChaosNode[]>,
  hit: (node: ChaosNode) => Promise<void> | void,
  mend: (node: ChaosNode) => Promise<void> | void,
): FaultKind {
  return async (scene) => {
    const hurt = await pick(scene);
    await Promise.all(hurt.map(hit));
    const fault = { name, nodes: names(hurt), cut: cutBy(scene.cluster, hurt) };
    scene.record({ ...fault, phase: "begin" });
    return async () => {
      scene.record({ ...fault, phase: "end" });
      await Promise.all(hurt.map(mend));
    };
  };
}

const one = (scene: Scene) => Promise.resolve([anyNode(scene)]);
const theLeader = async (scene: Scene) => [await leader(scene)];
const two = async (scene: Scene) => {
  // Half of the time the leader is the one that stays.
  const rest = scene.random() < 0.5 ? await leader(scene) : anyNode(scene);
  return scene.cluster.nodes.filter((it) => it !== rest);
};
const all = ({ cluster }: Scene) => Promise.resolve([...cluster.nodes]);

const killed = async ({ server }: ChaosNode) => {
  server.kill("SIGKILL");
  await server.exited;
};
const stopped = ({ server }: ChaosNode) => server.stop();
const restart = async ({ server }: ChaosNode) => {
  if (!server.running) await server.restart();
};
const paused = ({ server }: ChaosNode) => void server.kill("SIGSTOP");
const resumed = ({ server }: ChaosNode) => void server.kill("SIGCONT");

/** Cuts nodes off from the rest; those that are cut off are together. */
function partition(name: string, pick: (scene: Scene) => Promise<ChaosNode[]>): FaultKind {
  return async (scene) => {
    const { cluster } = scene;
    const away = new Set(await pick(scene));
    for (const [i, a] of cluster.nodes.entries()) {
      for (const [j, b] of cluster.nodes.entries()) {
        const apart = away.size === cluster.nodes.length || away.has(a) !== away.has(b);
        if (i !== j && apart) cluster.links.set(i, j, { cut: true });
      }
    }
    const minority = away.size * 2 < cluster.nodes.length || away.size === cluster.nodes.length
      ? [...away]
      : cluster.nodes.filter((it) => !away.has(it));
    const fault = { name, nodes: names([...away]), cut: names(minority) };
    scene.record({ ...fault, phase: "begin" });
    return () => {
      scene.record({ ...fault, phase: "end" });
      cluster.links.heal();
      return Promise.resolve();
    };
  };
}

/** All links, or those of one node, become bad. */
function badLinks(
  name: string,
  state: (scene: Scene) => { delay?: number; loss?: number },
): FaultKind {
  return (scene) => {
    const { links, nodes } = scene.cluster;
    const it = state(scene);
    for (const i of nodes.keys()) {
      for (const j of nodes.keys()) if (i !== j) links.set(i, j, it);
    }
    scene.record({ name, nodes: names(nodes), cut: [], phase: "begin" });
    return Promise.resolve(() => {
      scene.record({ name, nodes: names(nodes), cut: [], phase: "end" });
      links.heal();
      return Promise.resolve();
    });
  };
}

/** All there are, by name. */
export const FAULTS: Readonly<Record<string, FaultKind>> = {
  kill: onServers("kill", one, killed, restart),
  kill_leader: onServers("kill_leader", theLeader, killed, restart),
  kill_two: onServers("kill_two", two, killed, restart),
  stop: onServers("stop", one, stopped, restart),
  stop_leader: onServers("stop_leader", theLeader, stopped, restart),
  pause: onServers("pause", one, paused, resumed),
  pause_leader: onServers("pause_leader", theLeader, paused, resumed),
  pause_two: onServers("pause_two", two, paused, resumed),
  restart_all: onServers("restart_all", all, killed, restart),
  partition_one: partition("partition_one", one),
  partition_leader: partition("partition_leader", theLeader),
  partition_all: partition("partition_all", all),
  one_way: async (scene) => {
    // It is heard by none, and hears all.
    const { links, nodes } = scene.cluster;
    const node = scene.random() < 0.5 ? await leader(scene) : anyNode(scene);
    const from = nodes.indexOf(node);
    for (const to of nodes.keys()) if (to !== from) links.set(from, to, { cut: true });
    const fault = { name: "one_way", nodes: [node.name], cut: [] };
    scene.record({ ...fault, phase: "begin" });
    return () => {
      scene.record({ ...fault, phase: "end" });
      links.heal();
      return Promise.resolve();
    };
  },
  delay: badLinks("delay", ({ random }) => ({ delay: 20 + random() * 200 })),
  loss: badLinks("loss", ({ random }) => ({ loss: 0.02 + random() * 0.2 })),
  disk_full: (scene) => {
    const node = scene.cluster.nodes.find((it) => it.disk !== null)!;
    node.disk!.fill();
    const fault = { name: "disk_full", nodes: [node.name], cut: [] };
    scene.record({ ...fault, phase: "begin" });
    return Promise.resolve(async () => {
      scene.record({ ...fault, phase: "end" });
      node.disk!.free();
      // A server that met a full disk keeps no streams until it is started anew.
      await node.server.stop();
      await node.server.restart();
    });
  },
  kill_client: onClients("kill_client", "SIGKILL"),
  pause_client: onClients("pause_client", "SIGSTOP"),
};

function onClients(name: string, signal: "SIGKILL" | "SIGSTOP"): FaultKind {
  return (scene) => {
    const node = anyNode(scene);
    node.signalClient(signal);
    const fault = { name, nodes: [node.name], cut: [] };
    scene.record({ ...fault, phase: "begin" });
    return Promise.resolve(async () => {
      scene.record({ ...fault, phase: "end" });
      if (signal === "SIGSTOP") return node.signalClient("SIGCONT");
      // Its file is what is left of a node that is lost.
      await scene.ask({ id: `${node.id} file`, call: () => node.promoteFile() }, "promote");
      await node.restartClient();
    });
  };
}
