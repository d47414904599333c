/**
 * What a plan would run into, found before anything is written.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import process from "node:process";
import { isLoopback } from "../../../src/core/host/loopback.ts";
import { CONTROL_ACCOUNT, SYSTEM_ACCOUNT } from "../../../src/nats/callout/accounts.ts";
import { streamsOf } from "../../../src/jetstream/cluster/status.ts";
import type { Settings } from "../../settings/settings.ts";
import { freeIn, lookAt, sizeOf } from "../directory.ts";
import { hostPort } from "./nodes.ts";
import { ipOf, listenFailure, ownAddresses, portState } from "./network.ts";
import type { PlanFinding, PlannedNode } from "./types.ts";

const problem = (check: string, message: string): PlanFinding => ({
  check,
  level: "problem",
  message,
});

/** Checks the addresses: each is a machine of its own that answers, the first is this one. */
export async function addressFindings(
  nodes: readonly PlannedNode[],
  settings: Settings,
  isJoined: boolean,
): Promise<PlanFinding[]> {
  const [first, ...others] = nodes as [PlannedNode, ...PlannedNode[]];
  const ips = await Promise.all(nodes.map(({ address }) => ipOf(address)));
  const found: PlanFinding[] = [];
  nodes.forEach(({ name, address }, i) => {
    if (ips[i] === null) {
      found.push(problem("address", `${name}: the name ${address} does not resolve`));
      return;
    }
    const same = ips.indexOf(ips[i]!);
    if (same < i) {
      const other = nodes[same]!;
      found.push(
        problem("address", `${other.name} and ${name} are the same machine: ${ips[i]}`),
      );
    } else if (i > 0 && ownAddresses().includes(ips[i]!)) {
      found.push(problem("address", `${name}: ${address} is this machine, as ${first.name} is`));
    }
  });
  if (found.length > 0) return found;
  if (await listenFailure(ips[0]!, 0) !== null) {
    const own = ownAddresses().join(", ");
    return [
      problem(
        "address",
        `${first.name}: ${first.address} is not an address of this machine (${own}); name the ` +
          "machine on which you run this first",
      ),
    ];
  }
  return [
    ...await bindFindings(first, settings),
    ...(await Promise.all(others.map((it) => otherFindings(it, settings, isJoined)))).flat(),
  ];
}

/** Checks that others reach this server where the plan says. */
async function bindFindings(
  { name, address }: PlannedNode,
  { bind, httpPort, natsPort }: Settings,
): Promise<PlanFinding[]> {
  if (isLoopback(bind) && !isLoopback(address)) {
    return [
      problem(
        "bind",
        `${name} listens on ${bind}, which other machines cannot reach; serve with --bind ` +
          `${address} (or 0.0.0.0) and --bus-auth enforce, then make the plan`,
      ),
    ];
  }
  const ports = [httpPort, natsPort];
  const states = await Promise.all(ports.map((it) => portState(address, it)));
  return ports.flatMap((port, i) =>
    states[i] === "open" ? [] : [
      problem(
        "bind",
        `${name} does not answer at ${
          hostPort(address, port)
        }; it listens on ${bind}: serve with ` +
          `--bind ${address} or 0.0.0.0, or correct the address`,
      ),
    ]
  );
}

/** Checks that a machine is there. What it has is known when it joins. */
async function otherFindings(
  { name, address }: PlannedNode,
  { clusterPort }: Settings,
  isJoined: boolean,
): Promise<PlanFinding[]> {
  const at = hostPort(address, clusterPort);
  switch (await portState(address, clusterPort)) {
    case "silent":
      return [
        problem(
          "address",
          `${name} does not answer at ${at}; start the machine, or let this port through its firewall`,
        ),
      ];
    case "refused":
      return [];
    case "open":
      return isJoined ? [] : [
        {
          check: "address",
          level: "warning",
          message: `${name}: a program listens on ${at} already; stop it before you join`,
        },
      ];
  }
}

/** Share of the file that a node needs: the bucket, the second copy, and what the move writes. */
const TIMES_FILE = 4;

/** Returns the disk space that a node needs for what is here now, in bytes. */
export async function neededDisk({ db, storeDir, diskReserve }: Settings): Promise<number> {
  const sizes = await Promise.all(
    [db, `${db}-wal`].map((it) => stat(it).then(({ size }) => size, () => 0)),
  );
  const file = sizes.reduce((sum, it) => sum + it, 0);
  const blobs = existsSync(storeDir) ? await sizeOf(storeDir) : 0;
  return TIMES_FILE * file + blobs + diskReserve;
}

/** Checks that a disk has what a node needs; on any node. */
export async function diskFindings(
  name: string,
  directory: string,
  needed: number,
  limit: number | null,
): Promise<PlanFinding[]> {
  const free = await freeIn(directory);
  const has = Math.min(free ?? Infinity, limit ?? Infinity);
  if (has >= needed) return [];
  const what = has === limit ? "--nats-max-store allows" : `${directory} has`;
  return [
    problem(
      "disk",
      `${name}: ${what} ${inMiB(has)}, the control plane and its blobs need ${
        inMiB(needed)
      }; make ` +
        "room first",
    ),
  ];
}

function inMiB(bytes: number): string {
  return `${Math.ceil(bytes / 2 ** 20)} MiB`;
}

/** Names the streams that clients made: they stay behind on the nats-server that is alone. */
export async function streamFindings(
  { natsStore, bucket }: Settings,
  dropStreams: boolean,
): Promise<PlanFinding[]> {
  const ours = streamsOf(bucket ?? "UNIBUS").map(({ stream }) => stream);
  const { streams } = await lookAt(natsStore);
  const left = streams.filter(({ account, stream }) =>
    account !== SYSTEM_ACCOUNT && !(account === CONTROL_ACCOUNT && ours.includes(stream))
  ).map(({ stream }) => stream).sort();
  if (left.length === 0) return [];
  const named = `Streams that clients made on this nats-server: ${left.join(", ")}`;
  return [
    dropStreams
      ? { check: "streams", level: "warning", message: `${named}; they are left behind` }
      : problem(
        "streams",
        `${named}; a cluster begins without them. Save what you need of them, then use ` +
          "--drop-streams to leave them behind",
      ),
  ];
}

/** Checks that the server can read what this command writes. */
export async function ownerFindings({ db }: Settings): Promise<PlanFinding[]> {
  const own = process.getuid?.();
  const { uid } = await stat(dirname(db));
  if (own === undefined || own === uid) return [];
  return [
    problem(
      "owner",
      `${dirname(db)} belongs to another user (uid ${uid}), who could not read the new keys; run ` +
        "this as the user that runs the server",
    ),
  ];
}
