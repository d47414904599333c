/**
 * `promote`
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import type { PromoteReport } from "../../../mod.ts";
import { toStoreError } from "../../../src/files/errors.ts";
import { writeWhole } from "../../../src/files/write.ts";
import { setAside, stamp } from "../../../src/move/steps.ts";
import { loadServiceKeys } from "../../../src/nats/connection/service_keys.ts";
import {
  command,
  type CommandUnknownOpts,
  type Context,
  type NatsFlags,
  withJson,
  withNats,
} from "../../command.ts";
import { isManaged } from "../../settings/guards.ts";
import { readNode, writeNode } from "../../settings/node.ts";
import { serviceKeysPath, type Settings } from "../../settings/settings.ts";
import { serverSettings } from "../../store/chosen.ts";
import { actor } from "../../store/actor.ts";
import { natsTarget } from "../../store/open.ts";
import { countsText, print, printable, printJson, say } from "../../terminal/output.ts";

/** Creates the command. */
export function promoteCommand(context: Context): CommandUnknownOpts {
  return withJson(withNats(
    command(
      context,
      "promote",
      "Make a follower the control plane when its cluster is lost. Writes after the follower's position " +
        "are lost. Refused while a server of the cluster takes writes: those the file followed, the " +
        "other nodes in the server's settings, and --nats-url. Replaces the service keys next to the " +
        "file and the file of the route secret, so that nodes that come back are not part of it",
      [
        "membershipd promote ./local_files/follower.db --dry-run",
        "membershipd promote ./local_files/follower.db",
        "membershipd promote /backup/monday.db --force",
      ],
    )
      .argument("<file>", "the follower's file, or a backup of it")
      .option("--dry-run", "check everything and show the position without writing anything")
      .option(
        "--force",
        "also if the follower has an alarm, or a server does not accept the credentials",
      ),
  )).action(async (file, flags) => {
    const { dryRun = false, json } = flags;
    // The keys of a server are next to its --db file, which the follower becomes.
    const settings = { ...(await serverSettings(context.io.env)).settings, db: file };
    const { report, keys } = await promote(context, settings, file, flags);
    if (!dryRun) await leaveCluster(report.db);
    if (json) return await printJson(context, { ...report, keys });
    await print(context, ...linesOf(report, keys));
    if (dryRun) return;
    if (settings.clusterPassFile === null && settings.clusterPass !== null) {
      await say(
        context,
        "change the route secret in the settings before nodes of the old cluster return",
      );
    }
    await say(context, printable(`next: membershipd serve --store sqlite --db ${report.db}`));
  });
}

/** Flags of a promotion. */
export type PromoteFlags = NatsFlags & { dryRun?: true; force?: true };

/** What became of a file, and the keys that were replaced. */
export interface Promoted {
  report: PromoteReport;
  keys: NewKeys[];
}

/** Makes a follower's file the control plane, and replaces the keys of its cluster. */
export async function promote(
  context: Context,
  settings: Settings,
  file: string,
  flags: PromoteFlags,
): Promise<Promoted> {
  const { dryRun = false, force = false } = flags;
  const nats = await natsTarget(context, serversOf(settings, flags));
  const { promoteFollower } = await import("../../../mod.ts");
  const options = { db: file, nats, force, by: actor() };
  // Checked first: the keys must not change for a file that is refused.
  const report = await promoteFollower({ ...options, dryRun: true });
  if (dryRun) return { report, keys: [] };
  const keys = await renewKeys(settings);
  return { report: await promoteFollower(options), keys };
}

/** Notes beside a file that its node serves alone from now on. */
async function leaveCluster(db: string): Promise<void> {
  const node = await readNode(db);
  if (node?.state === "clustered") await writeNode(db, { ...node, state: "alone" });
}

/** The servers to ask besides those in the file, and how to log in. */
function serversOf(settings: Settings, flags: NatsFlags) {
  const { natsPort, routes, tlsCert } = settings;
  const scheme = tlsCert === null ? "nats" : "tls";
  const others = isManaged(settings)
    ? routes.map((it) => `${scheme}://${it.replace(/:\d+$/, "")}:${natsPort}`)
    : settings.natsUrl;
  const keys = serviceKeysPath(settings);
  const isLoggedIn = [flags.nkeySeedFile, flags.creds, flags.serviceKeys].some((it) =>
    it !== undefined
  );
  return {
    ...flags,
    natsUrl: [...flags.natsUrl ?? [], ...others],
    ...!isLoggedIn && existsSync(keys) ? { serviceKeys: keys } : {},
  };
}

/** Describes it for people. */
export function linesOf(report: PromoteReport, keys: readonly NewKeys[]): string[] {
  const { dryRun, bucket, db, position, updatedAt, generation, counts, undone } = report;
  return [
    ...dryRun ? ["dry run: nothing was written"] : [],
    `${dryRun ? "would promote" : "promoted"} ${db}: ${countsText(counts)}`,
    `it ends at position ${position} of bucket ${bucket}, ${updatedAt}; later writes are lost`,
    `generation ${generation}`,
    ...undone.length === 0 ? [] : [`incomplete changes undone in rooms: ${undone.join(", ")}`],
    ...keys.map(({ path, saved }) => `new ${path}; the old one is ${saved}`),
  ].map(printable);
}

/** A file with new keys. */
interface NewKeys {
  /** The file. */
  path: string;
  /** What the old one is called now. */
  saved: string;
}

/**
 * Replaces the service keys and the route secret, where they are in files that exist: nodes of the old
 * cluster have the old ones.
 */
async function renewKeys(settings: Settings): Promise<NewKeys[]> {
  const renewed: NewKeys[] = [];
  const renew = async (path: string | null, replace: (path: string) => Promise<string>) => {
    if (path === null || !existsSync(path)) return;
    try {
      renewed.push({ path, saved: await replace(path) });
    } catch (error) {
      throw toStoreError(error, `Replacing ${path}`);
    }
  };
  await renew(serviceKeysPath(settings), async (path) => {
    const saved = await setAside(path);
    await loadServiceKeys(path, { create: true });
    return saved!;
  });
  // No program creates this file when it is missing, so it has the old secret until it has the new one.
  await renew(settings.clusterPassFile, async (path) => {
    const saved = `${path}.${stamp()}`;
    await writeWhole(saved, await readFile(path));
    await writeWhole(path, `${randomBytes(32).toString("base64url")}\n`, { replace: true });
    return saved;
  });
  return renewed;
}
