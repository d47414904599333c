/**
 * Whether a machine is the one that a plan is about, and has what it needs.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { orAbort } from "../../../src/core/async/wait.ts";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { parseServiceKeys } from "../../../src/nats/connection/service_keys.ts";
import { diskFindings, ownerFindings } from "../../cluster/plan/checks.ts";
import type { FirstNode, JoinContent, JoinFront } from "../../cluster/plan/join_file.ts";
import { hostPort } from "../../cluster/plan/nodes.ts";
import { ipOf, listenFailure, ownAddresses } from "../../cluster/plan/network.ts";
import { FILES } from "../../cluster/plan/settings.ts";
import { MAX_SKEW_MS, type PlanFinding } from "../../cluster/plan/types.ts";
import { askPresence } from "../../cluster/presence.ts";
import { natsServer } from "../../nats_server.ts";
import { wsPortOf } from "../../settings/guards.ts";
import type { Settings } from "../../settings/settings.ts";
import type { Context } from "../../terminal/context.ts";

/** How long the first node may take to answer, in milliseconds. */
const PATIENCE_MS = 3_000;

const found = (level: PlanFinding["level"], check: string, message: string): PlanFinding => ({
  check,
  level,
  message,
});

/** Checks this machine against the plan. */
export async function selfFindings(
  context: Context,
  file: JoinFront,
  content: JoinContent,
  settings: Settings,
): Promise<PlanFinding[]> {
  const addresses = await addressFindings(file);
  const findings = [
    ...existsSync(dirname(settings.db)) ? await ownerFindings(settings) : [],
    ...addresses,
    // No port of another machine can be used here.
    ...addresses.length > 0 ? [] : await portFindings(settings),
    ...await diskFindings(
      file.name,
      existing(dirname(settings.db)),
      content.needs.disk,
      settings.natsMaxStore,
    ),
    ...await binaryFindings(context, content),
  ];
  return [...findings, ...await firstFindings(context, file, content)];
}

async function addressFindings({ name, address }: JoinFront): Promise<PlanFinding[]> {
  const ip = await ipOf(address);
  if (ip !== null && await listenFailure(ip, 0) === null) return [];
  return [
    found(
      "problem",
      "address",
      `${name} is at ${address} by the plan, which is not an address of this machine ` +
        `(${
          ownAddresses().join(", ")
        }); use the file of this machine, or plan again with its address`,
    ),
  ];
}

async function portFindings(settings: Settings): Promise<PlanFinding[]> {
  const { bind, httpPort, natsPort, clusterPort } = settings;
  const wsPort = wsPortOf(settings);
  const ports = [httpPort, natsPort, clusterPort, ...wsPort === null ? [] : [wsPort]];
  const failures = await Promise.all(ports.map((it) => listenFailure(bind, it)));
  return ports.flatMap((port, i) =>
    failures[i] === null ? [] : [
      found(
        "problem",
        "port",
        `${hostPort(bind, port)} cannot be used (${failures[i]}); stop the program that ` +
          "uses the port",
      ),
    ]
  );
}

async function binaryFindings(
  { io: { env, signal } }: Context,
  { needs }: JoinContent,
): Promise<PlanFinding[]> {
  const { version } = await natsServer({ env, signal });
  if (version === needs.nats) return [];
  return [
    found(
      "warning",
      "nats-server",
      `this machine has nats-server ${version}, the first node ${needs.nats}; better use the same`,
    ),
  ];
}

/** Compares plan and clock with the first node, if it can be reached. */
async function firstFindings(
  { io: { signal } }: Context,
  { name, plan }: JoinFront,
  { first, files }: JoinContent,
): Promise<PlanFinding[]> {
  let connection;
  try {
    const connecting = connectNats({
      servers: first.url,
      name: "membershipd join",
      nkeySeed: parseServiceKeys(files[FILES.keys]!, FILES.keys).service.seed,
      bootstrapTimeout: PATIENCE_MS,
      signal,
      ...first.url.startsWith("tls:") ? { tls: tlsOf(first) } : {},
    });
    connection = await orAbort(connecting, signal, (late) => void late.close());
  } catch (error) {
    signal.throwIfAborted();
    const why = error instanceof Error ? error.message : String(error);
    return [
      found(
        "warning",
        "first node",
        `${first.name} does not answer at ${first.url} (${why}): clock and plan are compared when ` +
          "the cluster grows",
      ),
    ];
  }
  try {
    const [answer] = await askPresence(connection, [connection.info!.server_name]);
    if (answer === undefined) {
      return [
        found("warning", "first node", `membershipd does not answer on ${first.name}; start it`),
      ];
    }
    const findings: PlanFinding[] = [];
    if (answer.plan !== plan) {
      findings.push(
        found(
          "problem",
          "plan",
          `${first.name} has ${
            answer.plan == null ? "no plan" : `plan ${answer.plan}`
          }, this file ` +
            `is of plan ${plan}: the plan was replaced; copy the new ${name}.join`,
        ),
      );
    }
    if (Math.abs(answer.skew ?? 0) > MAX_SKEW_MS) {
      const seconds = Math.round(Math.abs(answer.skew!) / 1000);
      findings.push(
        found(
          "problem",
          "clock",
          `this machine's clock is ${seconds} s ${
            answer.skew! > 0 ? "behind" : "ahead of"
          } that of ` +
            `${first.name}, at most ${MAX_SKEW_MS / 1000} s are allowed; set both by NTP`,
        ),
      );
    }
    return findings;
  } finally {
    await connection.close();
  }
}

function tlsOf({ ca, serverName }: FirstNode) {
  return { ...ca === null ? {} : { ca }, ...serverName === null ? {} : { serverName } };
}

/** The directory itself, or the nearest one above that exists. */
function existing(directory: string): string {
  for (let at = resolve(directory);; at = dirname(at)) if (existsSync(at)) return at;
}
