/**
 * `cluster replace`
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import { StoreError } from "../../../src/core/errors.ts";
import { askNodes } from "../../../src/jetstream/cluster/nodes.ts";
import { allCopies, behindWithout } from "../../cluster/copies.ts";
import { nodeOf } from "../../cluster/plan/nodes.ts";
import { readPlan } from "../../cluster/plan/plan_file.ts";
import type { Plan, PlannedNode } from "../../cluster/plan/types.ts";
import { command, type CommandUnknownOpts, type Context } from "../../command.ts";
import { duration } from "../../flags.ts";
import type { Resolved } from "../../settings/resolve.ts";
import { serverSettings } from "../../store/chosen.ts";
import { UsageError } from "../../terminal/failure.ts";
import { print, printJson, say } from "../../terminal/output.ts";
import { passphraseOf, withPassphrase } from "../../terminal/passphrase.ts";
import { reach, requireSystem, withCluster } from "./connect.ts";

/** Default lifetime of the `.join` file. */
const DAY_MS = 86_400_000;
/** Share of the streams that a node needs: its copies, and the second copy of the records. */
const TIMES_STREAMS = 2;

/** Creates the command. */
export function replaceCommand(context: Context): CommandUnknownOpts {
  return withPassphrase(
    withCluster(
      command(
        context,
        "replace",
        "Make a .join file for a machine in the place of a lost node, with the node's name and new " +
          "certificates. Runs on the machine that made the plan. The lost node must be stopped, and " +
          "all copies that are left must be current",
        [
          "membershipd cluster replace n3",
          "membershipd cluster replace n3=10.0.0.4 --passphrase --expires 2h",
        ],
      )
        .argument("<node>", "name of the lost node, or name=address of the machine in its place")
        .option("--expires <duration>", "how long the .join file can be used", duration, DAY_MS)
        .option("--out <directory>", "where the .join file is written", ".")
        .option("--config <file>", "the server's settings (default: UNIBUS_CONFIG)"),
    ),
    "encrypt the .join file with a passphrase",
  ).action(async (text, flags) => {
    const { io } = context;
    const env = { ...io.env, UNIBUS_CONFIG: flags.config ?? io.env.UNIBUS_CONFIG };
    const resolved = await serverSettings(env);
    const { settings } = resolved;
    const { plan, self } = await planHere(resolved);
    const node = chosenNode(plan, text);
    await using it = await reach({ ...context, io: { ...io, env } }, flags);
    await demandLost(requireSystem(it, "cluster replace"), node.name);
    const copies = await allCopies(it.service, io.signal);
    const behind = behindWithout(copies, node.name);
    if (behind.length > 0) {
      throw new StoreError("refused", `Replacing ${node.name}: ${behind.join("; ")}`, {
        hint: "wait until membershipd cluster status shows all other copies as current",
      });
    }
    const bytes = copies.reduce((sum, it) => sum + it.bytes, 0);
    const disk = Math.max(plan.needs.disk, TIMES_STREAMS * bytes + settings.diskReserve);
    const { joinPath, refuseOther } = await import("../../cluster/plan/make.ts");
    const { makeReplacement, movedIn } = await import("../../cluster/plan/replace.ts");
    await refuseOther(joinPath(flags.out, node.name));
    const { path } = await makeReplacement({
      plan: { ...movedIn(plan, node, settings), needs: { ...plan.needs, disk } },
      node,
      self,
      settings,
      out: flags.out,
      passphrase: await passphraseOf(context, flags, { twice: true }),
      life: flags.expires,
    });
    const expiresAt = new Date(Date.now() + flags.expires).toISOString();
    if (flags.json) return await printJson(context, { ...node, join: path, expiresAt });
    await print(context, `${node.name}  ${node.address}  ${path}`);
    await say(
      context,
      `copy it to its machine before ${expiresAt}, keep it secret, and run there: membershipd join ` +
        `${node.name}.join; then wait until membershipd cluster status is healthy. Never start the ` +
        "lost machine again: it has the same name, and valid keys",
    );
  });
}

async function planHere(
  { settings, node }: Resolved,
): Promise<{ plan: Plan; self: NonNullable<Resolved["node"]> }> {
  const plan = await readPlan(settings.db);
  if (plan !== null && node?.state === "clustered") return { plan, self: node };
  throw new UsageError(
    node === null || plan !== null
      ? `This machine is not a node of a planned cluster (${settings.db}); run the command on the ` +
        "machine on which membershipd cluster plan was run"
      : `This machine is node ${node.name} of cluster ${node.cluster}, but has no plan: only the ` +
        "machine on which membershipd cluster plan was run has the authority for new certificates",
  );
}

function chosenNode(plan: Plan, text: string): PlannedNode {
  const [first, ...others] = plan.nodes as [PlannedNode, ...PlannedNode[]];
  const name = text.split("=")[0]!;
  const known = others.find((it) => it.name === name);
  if (name === first.name) {
    throw new UsageError(
      `${name} is this machine; it has the plan and cannot be replaced from here`,
    );
  }
  if (known === undefined) {
    const names = others.map((it) => it.name).join(", ");
    throw new UsageError(`No node ${name} in the plan; it has ${names}`);
  }
  const chosen = text.includes("=") ? nodeOf(text) : known;
  const same = plan.nodes.find((it) => it.name !== name && it.address === chosen.address);
  if (same === undefined) return chosen;
  throw new UsageError(`${chosen.address} is the address of ${same.name}; each node is a machine`);
}

/** Refuses a node that runs: two servers of one name would disturb each other. */
async function demandLost(system: NatsConnection, name: string): Promise<void> {
  const { nodes, needed } = await askNodes(system);
  if (nodes.find((it) => it.name === name)?.reachable === true) {
    throw new StoreError("refused", `Replacing ${name}: it is running`, {
      hint: `stop ${name} first, and do not start it again`,
    });
  }
  if (nodes.filter((it) => it.reachable).length < needed) {
    throw new StoreError("unavailable", `Replacing ${name}: the cluster has no quorum`);
  }
}
