/**
 * `cluster plan`
 *
 * @module
 */

import { MIN_NATS_SERVER } from "../../../src/nats/server/binary.ts";
import { command, type CommandUnknownOpts, type Context, withJson } from "../../command.ts";
import {
  addressFindings,
  diskFindings,
  neededDisk,
  ownerFindings,
  streamFindings,
} from "../../cluster/plan/checks.ts";
import { lineOf, tellProblems } from "../../cluster/plan/findings.ts";
import { nodesOf } from "../../cluster/plan/nodes.ts";
import { isSame, readPlan } from "../../cluster/plan/plan_file.ts";
import { askServer, type RunningServer } from "../../cluster/plan/server.ts";
import {
  type Base,
  FILES,
  getsCertificate,
  refusedIn,
  settingsFor,
} from "../../cluster/plan/settings.ts";
import type { Plan, PlanFinding, PlannedNode } from "../../cluster/plan/types.ts";
import { duration } from "../../flags.ts";
import { natsServer } from "../../nats_server.ts";
import * as read from "../../settings/read.ts";
import { serverSettings } from "../../store/chosen.ts";
import { UsageError } from "../../terminal/failure.ts";
import { print, printJson, say } from "../../terminal/output.ts";
import { passphraseOf, withPassphrase } from "../../terminal/passphrase.ts";
import { dirname, join } from "node:path";

/** Default lifetime of the `.join` files. */
const DAY_MS = 86_400_000;

/** Creates the command. */
export function planCommand(context: Context): CommandUnknownOpts {
  return withPassphrase(
    withJson(
      command(
        context,
        "plan",
        "Plan a cluster from the server on this machine, which keeps its store in one file: make " +
          "keys, certificates and settings for each node, and a .join file for each other machine. " +
          "Nothing changes for the running server until membershipd grow",
        [
          "membershipd cluster plan n1=10.0.0.1 n2=10.0.0.2 n3=10.0.0.3",
          "membershipd cluster plan n1=10.0.0.1 n2=10.0.0.2 n3=10.0.0.3 --dry-run",
          "membershipd cluster plan n1=bus1.lan n2=bus2.lan n3=bus3.lan --passphrase --expires 2h",
        ],
      )
        .argument("<node...>", "name=address of each node, this machine first")
        .option("--cluster-name <name>", "the cluster's name", "bus")
        .option("--expires <duration>", "how long the .join files can be used", duration, DAY_MS)
        .option("--tls", "make certificates for clients too (default: if this server has one)")
        .option("--out <directory>", "where the .join files are written", ".")
        .option("--drop-streams", "leave streams behind that clients made on this nats-server")
        .option("--replace", "make a new plan; .join files of the former one are refused then")
        .option("--dry-run", "only check, and show what would be made")
        .option("--config <file>", "the server's settings (default: UNIBUS_CONFIG)"),
    ),
    "encrypt the .join files with a passphrase",
  ).action(async (texts, flags) => {
    const { env } = context.io;
    const nodes = nodesOf(texts);
    const cluster = nameOf(flags.clusterName);
    const config = flags.config ?? env.UNIBUS_CONFIG;
    const { settings, node } = await serverSettings({ ...env, UNIBUS_CONFIG: config });
    if (node?.state === "clustered") {
      throw new UsageError(
        `This machine is node ${node.name} of cluster ${node.cluster} already (${node.path}); see ` +
          "membershipd cluster status. A plan is made by a server that keeps its store in one file: " +
          "call a grow off that is not finished (membershipd grow --call-off), or shrink first",
      );
    }
    const server = await askServer(context, settings);
    if (typeof server === "string") {
      return await refuse(context, flags, [
        { check: "server", level: "problem", message: server },
      ]);
    }
    const tls = flags.tls === true || server.settings.tlsCert !== null;
    const base: Base = { ...server, cluster, nodes, tls };
    const former = await readPlan(settings.db).catch((error) => {
      if (flags.replace) return null;
      throw error;
    });
    const { plan, isKept } = await planOf(base, server, former, flags);
    const findings = await findingsOf(context, base, plan, server, isKept);
    if (findings.some((it) => it.level === "problem")) {
      return await refuse(context, flags, findings);
    }
    const { joinPath, makePlan, refuseOther } = await import("../../cluster/plan/make.ts");
    const paths = plan.nodes.slice(1).map(({ name }) => joinPath(flags.out, name));
    await Promise.all(paths.map(refuseOther));
    const isDry = flags.dryRun === true;
    if (!isDry) {
      const { out, expires: life } = flags;
      const passphrase = await passphraseOf(context, flags, { twice: true });
      const { aside } = await makePlan({ plan, base, isKept, node, out, passphrase, life });
      if (aside !== null) findings.push(setAsideFinding(aside));
    }
    await show(context, flags, { plan, isKept, isDry, findings, paths });
  });
}

function nameOf(text: string): string {
  try {
    return read.name(text);
  } catch (error) {
    if (!(error instanceof read.BadValue)) throw error;
    throw new UsageError(`--cluster-name ${error.message}${read.foundText(text)}`);
  }
}

interface Flags {
  json?: true;
  replace?: true;
  dropStreams?: true;
  expires: number;
}

/** Returns the former plan if nothing has changed, else a new one. */
async function planOf(
  base: Base,
  server: RunningServer,
  former: Plan | null,
  { replace, dropStreams }: Flags,
): Promise<{ plan: Plan; isKept: boolean }> {
  const { newId } = await import("../../cluster/plan/make.ts");
  const plan: Plan = {
    id: newId(),
    createdAt: new Date().toISOString(),
    cluster: base.cluster,
    nodes: base.nodes,
    settings: Object.fromEntries(base.nodes.map((it) => [it.name, settingsFor(base, it)])),
    tls: base.tls,
    keys: server.keys,
    needs: { disk: await neededDisk(base.settings), nats: server.nats },
    dropStreams: dropStreams === true,
  };
  if (former === null || replace) return { plan, isKept: false };
  if (isSame(former, plan)) {
    return { plan: { ...plan, id: former.id, createdAt: former.createdAt }, isKept: true };
  }
  throw new UsageError(
    `There is a plan already, ${former.id} of ${former.createdAt}, for ` +
      `${former.nodes.map(shown).join(" ")}, and it differs: ${changesOf(former, plan)}; use ` +
      "--replace to make a new one. The .join files of the former one are refused then",
  );
}

function shown({ name, address }: PlannedNode): string {
  return `${name}=${address}`;
}

function changesOf(former: Plan, plan: Plan): string {
  const keys = ["cluster", "nodes", "tls", "keys", "settings"] as const;
  return keys.filter((it) => JSON.stringify(former[it]) !== JSON.stringify(plan[it])).join(", ");
}

async function findingsOf(
  context: Context,
  base: Base,
  plan: Plan,
  server: RunningServer,
  isKept: boolean,
): Promise<PlanFinding[]> {
  const { settings, nodes } = base;
  const { env, signal } = context.io;
  const refused = nodes.flatMap(({ name }) => refusedIn(name, plan.settings[name]!));
  const installed = await natsServer({ env, signal });
  return [
    ...await ownerFindings(settings),
    ...refused.map((message): PlanFinding => ({ check: "settings", level: "problem", message })),
    ...await addressFindings(nodes, settings, isKept),
    ...await diskFindings(
      nodes[0]!.name,
      dirname(settings.db),
      plan.needs.disk,
      settings.natsMaxStore,
    ),
    ...await streamFindings(settings, plan.dropStreams),
    ...certificateFindings(base),
    ...installed.version === server.nats ? [] : [
      {
        check: "nats-server",
        level: "warning",
        message: `the nats-server that runs is ${server.nats}, the installed one ` +
          `${installed.version}; ${MIN_NATS_SERVER} or later, and better the same on all nodes`,
      } satisfies PlanFinding,
    ],
  ];
}

/** Says what this server needs before it grows, if it gets a certificate. */
function certificateFindings(base: Base): PlanFinding[] {
  const { settings, nodes } = base;
  const [self] = nodes as [PlannedNode];
  if (!getsCertificate(base, self)) return [];
  const at = (file: string) => join(dirname(settings.db), file);
  return [
    {
      check: "certificate",
      level: "warning",
      message: `${self.name} has none yet: before membershipd grow, restart it with --tls-cert ` +
        `${at(FILES.cert)} --tls-key ${at(FILES.key)} --ca ${at(FILES.ca)}; its clients use ` +
        "https:// and tls:// from then on, and trust that authority",
    },
  ];
}

function setAsideFinding(path: string): PlanFinding {
  const message =
    `the streams of the former cluster are now in ${path}: delete that directory if ` +
    "nothing needs it";
  return { check: "streams", level: "warning", message };
}

/** Shows what is wrong; nothing was written. */
async function refuse(
  context: Context,
  { json }: Flags,
  findings: PlanFinding[],
): Promise<void> {
  if (json) await printJson(context, { plan: null, findings });
  await tellProblems(context, json ? [] : findings);
}

interface Result {
  plan: Plan;
  isKept: boolean;
  isDry: boolean;
  findings: PlanFinding[];
  paths: string[];
}

async function show(
  context: Context,
  { json, expires }: Flags,
  { plan, isKept, isDry, findings, paths }: Result,
): Promise<void> {
  const nodes = plan.nodes.map((it, i) => ({ ...it, join: i === 0 ? null : paths[i - 1]! }));
  const expiresAt = new Date(Date.now() + expires).toISOString();
  const { id, cluster } = plan;
  if (json) {
    const state = { plan: id, cluster, unchanged: isKept, written: !isDry };
    return await printJson(context, { ...state, expiresAt, nodes, findings });
  }
  const width = Math.max(...nodes.map((it) => it.name.length));
  const wide = Math.max(...nodes.map((it) => it.address.length));
  await print(
    context,
    ...findings.map(lineOf),
    `plan ${id} of cluster ${cluster}${isKept ? ", unchanged" : ""}`,
    ...nodes.map(({ name, address, join }) =>
      `  ${name.padEnd(width)}  ${address.padEnd(wide)}  ${join ?? "this machine"}`
    ),
  );
  await say(
    context,
    isDry
      ? "nothing was written (--dry-run)"
      : `copy each .join file to its machine before ${expiresAt}, keep it secret, and run there: ` +
        "membershipd join NAME.join; then here: membershipd grow",
  );
}
