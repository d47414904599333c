/**
 * Checks before the control plane moves into a cluster, before anything is changed.
 *
 * @module
 */

import { join } from "node:path";
import { isStoreError, StoreError } from "../../../src/core/errors.ts";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { loadServiceKeys } from "../../../src/nats/mod.ts";
import { neededDisk, streamFindings } from "../../cluster/plan/checks.ts";
import { hostPort } from "../../cluster/plan/nodes.ts";
import { readPlan } from "../../cluster/plan/plan_file.ts";
import { MAX_SKEW_MS, type Plan, type PlannedNode } from "../../cluster/plan/types.ts";
import { type Answer, askPresence } from "../../cluster/presence.ts";
import { clusterDirectory } from "../../settings/node.ts";
import { type Key, serviceKeysPath, type Settings } from "../../settings/settings.ts";
import { VERSION } from "../../version.ts";
import { isClustered, nodeOf } from "./cluster.ts";
import type { Trip, World } from "./types.ts";

/** How long a node may take to answer, milliseconds. */
const PATIENCE_MS = 3_000;

/** Settings that a running server cannot take from the plan. */
const FIXED = ["bind", "busAuth", "tlsCert", "tlsKey", "natsPort"] as const satisfies Key[];

/**
 * Checks that the control plane can move to the nodes of the plan.
 *
 * @throws {StoreError} refused: it cannot; the message lists all reasons
 */
export async function checkGrow(world: World, trip: Trip): Promise<Plan> {
  trip.begin("preflight");
  const plan = await planOf(world);
  const { settings } = world.around;
  const others = plan.nodes.slice(1);
  const needs = await neededDisk(settings);
  const answers = await Promise.all(others.map((it) => ask(world, plan, it)));
  const problems = [
    ...await ownProblems(world),
    ...answers.flatMap((it, i) => nodeProblems(world, plan, others[i]!, it, needs)),
    // In the cluster, they have been left behind.
    ...isClustered(world) ? [] : await streamProblems(settings, plan, trip),
  ];
  for (const it of answers) {
    if (typeof it !== "string") trip.find(`${it.node}: joined, waiting; version ${it.version}`);
  }
  if (problems.length === 0) return plan;
  throw new StoreError("refused", `This control plane cannot grow now: ${problems.join("; ")}`, {
    hint: "nothing was changed; membershipd grow --dry-run checks again",
  });
}

/** Reads the plan that was made here. */
async function planOf(world: World): Promise<Plan> {
  const node = await nodeOf(world);
  const plan = await readPlan(world.around.settings.db);
  const [first] = plan?.nodes ?? [];
  if (plan === null || plan.id !== node.plan || first!.name !== node.name) {
    throw new StoreError("refused", `Node ${node.name} did not make the plan of its cluster`, {
      hint: "run membershipd grow on the machine where membershipd cluster plan was run",
    });
  }
  return plan;
}

async function ownProblems(world: World): Promise<string[]> {
  const { settings } = world.around;
  const { settings: planned } = await world.settingsIn("clustered");
  return FIXED.filter((key) => planned[key] !== settings[key]).map((key) =>
    `this server runs with ${key} ${settings[key]}, the plan says ${
      planned[key]
    }: restart it with ` +
    "that, or make the plan again"
  );
}

/** Asks a node over its own address: it is not connected to this one yet. Returns why it does not answer. */
async function ask(
  { around }: World,
  plan: Plan,
  { name, address }: PlannedNode,
): Promise<Answer | string> {
  const { settings, signal } = around;
  const its = plan.settings[name]!;
  const port = Number(its.natsPort ?? settings.natsPort);
  const hasTls = its.tlsCert !== undefined;
  const { service } = await loadServiceKeys(serviceKeysPath(settings));
  try {
    const connection = await connectNats({
      servers: `${hasTls ? "tls" : "nats"}://${hostPort(address, port)}`,
      ...hasTls ? { tls: { caFile: join(clusterDirectory(settings.db), "ca.pem") } } : {},
      nkeySeed: service.seed,
      name: "membershipd preflight",
      bootstrapTimeout: PATIENCE_MS,
      signal,
    });
    try {
      const found = (await askPresence(connection, [name])).find((it) => it.node === name);
      return found ?? "its nats-server runs, but membershipd does not answer";
    } finally {
      await connection.close();
    }
  } catch (error) {
    if (!isStoreError(error)) throw error;
    return error.message;
  }
}

/** Returns what a node lacks. */
function nodeProblems(
  { bus }: World,
  plan: Plan,
  { name }: PlannedNode,
  answer: Answer | string,
  needs: number,
): string[] {
  if (typeof answer === "string") {
    return [
      `${name} does not answer (${answer}): run membershipd join ${name}.join there, and start it`,
    ];
  }
  const { keys, waiting, bucket, version, skew, disk } = answer;
  const lacks: (string | false)[] = [
    answer.plan !== plan.id &&
    `it joined another plan: copy the present ${name}.join there and join again`,
    keys !== bus.fingerprint && "it has other service keys: join it again with its .join file",
    (waiting ?? null) === null && (bucket === null ? "it does not wait" : `it serves ${bucket}`),
    version !== VERSION && `it runs version ${version}, this one ${VERSION}: upgrade it`,
    skew !== null && Math.abs(skew) > MAX_SKEW_MS &&
    `its clock is ${Math.round(Math.abs(skew) / 1000)} s ${skew > 0 ? "ahead of" : "behind"} ` +
      "this one: set the clocks by NTP",
    (disk ?? Infinity) < needs &&
    `it has ${mib(disk ?? 0)} of free disk space, ${mib(needs)} are needed`,
  ];
  return lacks.filter((it) => it !== false).map((it) => `${name}: ${it}`);
}

const mib = (bytes: number) => `${Math.ceil(bytes / 2 ** 20)} MiB`;

async function streamProblems(settings: Settings, plan: Plan, trip: Trip): Promise<string[]> {
  const drop = plan.dropStreams || trip.request.dropStreams === true;
  const found = await streamFindings(settings, drop);
  for (const { level, message } of found) if (level === "warning") trip.find(message);
  return found.filter((it) => it.level === "problem").map((it) => it.message);
}
