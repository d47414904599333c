/**
 * How long nothing is acknowledged when a node of three goes away: through the store, and by the
 * servers themselves, at one and the same time.
 *
 * @module
 */

import process from "node:process";
import {
  connect,
  createInbox,
  type NatsConnection,
  nkeyAuthenticator,
} from "@nats-io/transport-node";
import type { StreamInfo } from "@nats-io/jetstream";
import { isCurrentReplica } from "../../../src/jetstream/log/stream.ts";
import type { Store } from "../../../src/core/store.ts";
import { hexKey } from "../../conformance/kit/kit.ts";
import { until } from "../../cli/serve/kit.ts";
import { run, type TestNode, type TestNodes } from "../../cluster/kit.ts";

/** How a node goes. */
export type Going = "follower killed" | "leader killed" | "leader stopped in order";

/** The longest times without, milliseconds. */
export interface Gaps {
  /** An acknowledged write through the store. */
  store: number;
  /** An acknowledged message by a bare connection: what the servers take by themselves. */
  bare: number;
  /** A yes of `isAuthorized`. */
  authorized: number;
  /** From the end of the leader until another one was announced; `null` when none was. */
  elected: number | null;
}

/** What nodes of the cluster are started with. */
const NODE = { more: ["--store", "jetstream", "--replicas", "3"] };
const STREAM = "KV_UNIBUS";
/** A key that no store reads. */
const SUBJECT = "$KV.UNIBUS.meta.bench";
/** Milliseconds between two bare messages. */
const EVERY = 10;
/** Milliseconds of quiet that end a round. */
const QUIET = 2500;

/** Starts a node; one that gives up, as on a busy machine, is started again, as a service manager does. */
export async function startAgain(node: TestNode): Promise<void> {
  for (let tries = 1;; tries++) {
    try {
      await node.start(NODE);
      return;
    } catch (error) {
      if (tries === 5) throw error;
      const why = /^error: .*$/m.exec((error as Error).message)?.[0] ?? error;
      console.error(`  ${node.name} did not start: ${why}`);
    }
  }
}

/** Connects as the store does, with nothing between. */
export function bare(nodes: TestNode[], place: TestNodes): Promise<NatsConnection> {
  return connect({
    servers: nodes.map((it) => it.nats),
    authenticator: nkeyAuthenticator(new TextEncoder().encode(place.keys.service.seed)),
    reconnectTimeWait: 50,
    maxReconnectAttempts: -1,
    ignoreClusterUpdates: true,
    timeout: 30_000,
  });
}

/** The stream's state as its leader tells it, when all three copies are current. */
async function currentInfo(nc: NatsConnection): Promise<StreamInfo> {
  let found: StreamInfo | undefined;
  await until(
    async () => {
      try {
        const answer = await nc.request(`$JS.API.STREAM.INFO.${STREAM}`, "", { timeout: 1000 });
        const info = answer.json<StreamInfo>();
        const { replicas = [] } = info.cluster ?? {};
        if (replicas.length !== 2 || !replicas.every(isCurrentReplica)) return false;
        if (replicas.some((it) => (it as { lag?: number }).lag)) return false;
        found = info;
        return true;
      } catch {
        return false; // No leader.
      }
    },
    "three current copies",
    120_000,
  );
  return found!;
}

/** The longest pause between two of `times`. */
function longest(times: number[]): number {
  let gap = 0;
  for (let i = 1; i < times.length; i++) gap = Math.max(gap, times[i]! - times[i - 1]!);
  return gap;
}

/** Takes a node away while there is load on the others, measures, and brings it back. */
export async function gapsWhen(place: TestNodes, going: Going): Promise<Gaps> {
  const ask = await bare(place.nodes, place);
  const { cluster } = await currentInfo(ask);
  await ask.close();
  const leader = place.nodes.find((it) => it.name === cluster!.leader)!;
  const victim = going === "follower killed" ? place.nodes.find((it) => it !== leader)! : leader;
  const others = place.nodes.filter((it) => it !== victim);
  await using store = await place.open(others);
  const nc = await bare(others, place);
  try {
    return await measure({ store, nc, victim, going });
  } finally {
    await nc.close();
  }
}

interface Scene {
  store: Store;
  nc: NatsConnection;
  victim: TestNode;
  going: Going;
}

async function measure({ store, nc, victim, going }: Scene): Promise<Gaps> {
  const written: number[] = [];
  const acknowledged: number[] = [];
  const yes: number[] = [];
  let elected: number | null = null;
  let running = true;
  const someone = hexKey();
  await store.addUser({ signPub: someone, kexPub: hexKey(), handle: "asked" });
  await until(async () => (await store.health()).ok, "a warm cache", 60_000);

  const inbox = createInbox();
  nc.subscribe(inbox, {
    callback: (_, msg) => {
      if (msg.data.length > 0 && !msg.string().includes('"error"')) {
        acknowledged.push(performance.now());
      }
    },
  });
  nc.subscribe(`$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.${STREAM}`, {
    callback: () => {
      elected ??= performance.now();
    },
  });
  const pulse = setInterval(() => {
    try {
      nc.publish(SUBJECT, "1", { reply: inbox });
    } catch { /* Not connected at this moment. */ }
  }, EVERY);
  const writing = (async () => {
    while (running) {
      try {
        await store.addUser({ signPub: hexKey(), kexPub: hexKey(), handle: "written" });
        written.push(performance.now());
      } catch { /* Not acknowledged: that is what is measured. */ }
    }
  })();
  const asking = (async () => {
    while (running) {
      if (await store.isAuthorized(someone)) yes.push(performance.now());
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  })();

  await new Promise((resolve) => setTimeout(resolve, 1000));
  elected = null;
  const began = performance.now();
  let stopping: Promise<void>;
  if (going === "leader stopped in order") stopping = victim.stop("SIGTERM");
  else {
    const nats = victim.daemon!.natsPid();
    stopping = victim.stop("SIGKILL");
    process.kill(nats, "SIGKILL");
  }
  const quiet = () =>
    [written, acknowledged, yes].every((it) => {
      const since = it.filter((at) => at > began + QUIET);
      return since.length > 0 && performance.now() - began > QUIET + 500 &&
        longest(since.slice(-50)) < 1000 && performance.now() - it.at(-1)! < 500;
    });
  try {
    await stopping;
    const until30 = performance.now() + 30_000;
    while (!quiet() && performance.now() < until30) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    await new Promise((resolve) => setTimeout(resolve, QUIET));
  } finally {
    running = false;
    clearInterval(pulse);
    await Promise.all([writing, asking]);
    await startAgain(victim);
  }
  const around = (times: number[]) => longest(times.filter((at) => at > began - 500));
  return {
    store: around(written),
    bare: around(acknowledged),
    authorized: around(yes),
    elected: elected === null ? null : elected - began,
  };
}

/** Makes sure that a cluster is whole again and everything in it is well. */
export async function doctor(place: TestNodes): Promise<void> {
  const nc = await bare(place.nodes, place);
  await currentInfo(nc).finally(() => nc.close());
  await run("doctor", ...place.flags(...place.nodes));
}
