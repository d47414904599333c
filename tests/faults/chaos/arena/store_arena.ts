/**
 * Nodes that are a store each: a nats-server, and a client process with `openJetStream`.
 *
 * @module
 */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "@nats-io/transport-node";
import { ChaosCluster } from "./cluster.ts";
import { SmallDisk } from "./disk.ts";
import { FAULTS } from "../faults.ts";
import { SETUP } from "../judge/entries.ts";
import { hexOf } from "../ops.ts";
import { type Arena, type Fault, replicated } from "../run.ts";

/** Starts the servers. Faults that are not possible here are left out, and that is said. */
export async function storeArena(
  faults: readonly string[] | undefined,
  log: (line: string) => void,
): Promise<Arena> {
  const wanted = new Set(faults ?? Object.keys(FAULTS));
  if (wanted.has("disk_full") && !SmallDisk.isPossible()) {
    log("disk_full is left out: only root can make a small disk");
    wanted.delete("disk_full");
  }
  const cluster = await ChaosCluster.start({ nodes: 3, smallDisk: wanted.has("disk_full") });
  const { nodes } = cluster;
  const files = await mkdtemp(join(tmpdir(), "unibus-chaos-followers-"));
  let bucket = "";
  const kinds = Object.entries(FAULTS).filter(([name]) => wanted.has(name));
  return {
    nodes,
    load: { promotes: true },
    faults: Object.fromEntries(
      kinds.map(([name, kind]): [string, Fault] => [
        name,
        (context) => kind({ cluster, bucket, ...context }),
      ]),
    ),
    async begin(round, times) {
      bucket = `chaos_${round}`;
      await Promise.all(nodes.map((it) => {
        const follower = join(files, `${bucket}-${it.name}.db`);
        return it.open({ bucket, replicas: 3, follower, ...times });
      }));
      // Nobody touches this one, so that no user of the load is ever the last admin.
      const root = { signPub: hexOf(`root of ${bucket}`), role: "admin", handle: "root" };
      for (let made = false; !made;) {
        const ending = await nodes[0]!.call("addUser", root, SETUP);
        made = "answer" in ending || ending.error === "user_exists";
      }
    },
    async end(ask) {
      await replicated(nodes);
      await ask(nodes[0]!, "repair");
      for (const op of ["snapshot", "history", "doctor"]) {
        for (const node of nodes) await ask(node, op);
      }
      // What a follower holds is judged as what its node answers.
      for (const node of nodes) {
        const call = () => node.call("followed", {});
        await ask({ id: `${node.id} follower`, call }, "snapshot");
        await ask(node, "promote");
      }
      await Promise.all(nodes.map((it) => it.close()));
      for (const it of nodes) if (it.errors !== "") log(`  ${it.name} said: ${it.errors}`);
      await removeBucket(cluster, bucket);
    },
    async [Symbol.asyncDispose]() {
      await cluster[Symbol.asyncDispose]();
      await rm(files, { recursive: true, force: true });
    },
  };
}

async function removeBucket(cluster: ChaosCluster, bucket: string): Promise<void> {
  const nc = await connect({ servers: cluster.nodes.map((it) => it.server.url) });
  try {
    for (const stream of [`KV_${bucket}`, `${bucket}_HISTORY`]) {
      await nc.request(`$JS.API.STREAM.DELETE.${stream}`, "", { timeout: 5000 });
    }
  } catch { /* It disturbs nobody. */ }
  await nc.close();
}
