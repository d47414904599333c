/**
 * Another machine in the place of a node: the plan with its address, and its `.join` file.
 *
 * @module
 */

import { type NodeFile, type Values, writeNode } from "../../settings/node.ts";
import type { Settings } from "../../settings/settings.ts";
import { writeJoin, type Written } from "./make.ts";
import { hostPort } from "./nodes.ts";
import { readAuthority, readSecret, writePlan } from "./plan_file.ts";
import { originAt } from "./settings.ts";
import type { Plan, PlannedNode } from "./types.ts";

/** Returns a plan in which a node has another address. */
export function movedIn(plan: Plan, { name, address }: PlannedNode, settings: Settings): Plan {
  const former = plan.nodes.find((it) => it.name === name)!.address;
  const { clusterPort, httpPort } = settings;
  const moved = (at: string, port: number) =>
    at === hostPort(former, port) ? hostPort(address, port) : at;
  const originMoved = (origin: string) =>
    [true, false].find((it) => originAt(it, former, httpPort) === origin) === undefined
      ? origin
      : originAt(origin.startsWith("https:"), address, httpPort);
  const listed = (value: unknown, port: number) => (value as string[]).map((it) => moved(it, port));
  const change = (node: string, values: Values): Values => ({
    ...values,
    ...node === name && values.bind === former ? { bind: address } : {},
    ...node === name && Array.isArray(values.authority)
      ? { authority: listed(values.authority, httpPort) }
      : {},
    ...Array.isArray(values.wsOrigin) ? { wsOrigin: values.wsOrigin.map(originMoved) } : {},
    routes: listed(values.routes, clusterPort),
  });
  return {
    ...plan,
    nodes: plan.nodes.map((it) => it.name === name ? { name, address } : it),
    settings: Object.fromEntries(
      Object.entries(plan.settings).map(([node, values]) => [node, change(node, values)]),
    ),
  };
}

/** What is to be written. */
export interface Replacing {
  /** The plan with the new address. */
  plan: Plan;
  /** The node to replace. */
  node: PlannedNode;
  /** The node file of this machine, the first of the plan. */
  self: NodeFile;
  /** The settings of this machine. */
  settings: Settings;
  /** The directory of the `.join` file. */
  out: string;
  /** Encrypts it. */
  passphrase: string | null;
  /** How long it can be used, in milliseconds. */
  life: number;
}

/**
 * Writes the `.join` file with new certificates, then the plan and the routes of this machine.
 *
 * @throws {StoreError} unavailable: a file cannot be read or written
 */
export async function makeReplacement(replacing: Replacing): Promise<Written> {
  const { plan, node, self, settings, ...how } = replacing;
  const { cluster, nodes, tls } = plan;
  const written = await writeJoin({
    ...how,
    plan,
    base: { cluster, nodes, tls, settings, values: {} },
    authority: await readAuthority(settings.db),
    secret: await readSecret(settings.db),
  }, node);
  await writePlan(settings.db, plan);
  const { routes, wsOrigin } = plan.settings[self.name]!;
  await writeNode(settings.db, {
    ...self,
    settings: { ...self.settings, routes, ...wsOrigin !== undefined && { wsOrigin } },
  });
  return written;
}
