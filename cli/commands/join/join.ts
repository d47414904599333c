/**
 * `join`: makes this machine a node of a planned cluster.
 *
 * @module
 */

import { dirname, join, resolve as absolute } from "node:path";
import { StoreError } from "../../../src/core/errors.ts";
import { systemCode } from "../../../src/core/host/system_code.ts";
import { isOpen, openness } from "../../../src/keys/identity_file.ts";
import { readSmall } from "../../../src/files/read.ts";
import { toStoreError } from "../../../src/files/errors.ts";
import { parseServiceKeys } from "../../../src/nats/connection/service_keys.ts";
import {
  type JoinContent,
  type JoinFile,
  MOST_BYTES,
  parseJoin,
} from "../../cluster/plan/join_file.ts";
import { startLine } from "../../cluster/start.ts";
import { lineOf, tellProblems } from "../../cluster/plan/findings.ts";
import { writeFiles } from "../../cluster/plan/plan_file.ts";
import { FILES } from "../../cluster/plan/settings.ts";
import { MAX_SKEW_MS, type PlanFinding } from "../../cluster/plan/types.ts";
import { fingerprint } from "../../cluster/presence.ts";
import {
  command,
  type CommandUnknownOpts,
  type Context,
  DEFAULT_DB,
  withJson,
} from "../../command.ts";
import { problemsOf } from "../../settings/guards.ts";
import { located, nodePath, readNode, writeNode } from "../../settings/node.ts";
import { type Given, readConfig, resolve } from "../../settings/resolve.ts";
import { UsageError } from "../../terminal/failure.ts";
import { print, printJson, say } from "../../terminal/output.ts";
import { passphraseOf, withPassphrase } from "../../terminal/passphrase.ts";
import { selfFindings } from "./checks.ts";
import { isJoined, refuseUsed } from "./directory.ts";

/** Creates the command. */
export function joinCommand(context: Context): CommandUnknownOpts {
  return withPassphrase(
    withJson(
      command(
        context,
        "join",
        "Make this machine a node of a cluster by the .join file that membershipd cluster plan made " +
          "for it, and start the server. It waits until the control plane comes by membershipd grow",
        [
          "membershipd join n2.join",
          "membershipd join n2.join --passphrase",
          "sudo -u unibus membershipd join n2.join --dir /var/lib/unibus --no-start",
        ],
      )
        .argument("<file>", "the .join file of this machine, with mode 0600")
        .option("--dir <directory>", "directory of the node's data", dirname(DEFAULT_DB))
        .option("--no-start", "only join; show how to start the server")
        .option("--config <file>", "more settings of this machine (default: UNIBUS_CONFIG)"),
    ),
    "decrypt the .join file",
  ).action(async (path, flags) => {
    const { env } = context.io;
    const file = await readJoin(path);
    const db = join(flags.dir, "unibus.db");
    const config = flags.config ?? (env.UNIBUS_CONFIG || undefined);
    const given: Given = {
      flags: { db },
      env,
      file: config === undefined ? null : await readConfig(config),
    };
    const before = isJoined(await readNode(db), file);
    const findings = before ? [] : await enter(context, path, file, flags, given);
    if (findings === null) return;
    await tell(context, flags, { file, db, config, before, findings });
    if (flags.start === false) return;
    const { runAgain } = await import("../../serve/again.ts");
    await runAgain(context, () => Promise.resolve(given), { natsOnly: false, isNew: false });
  });
}

async function readJoin(path: string): Promise<JoinFile> {
  let found;
  try {
    found = await readSmall(path, MOST_BYTES);
  } catch (error) {
    if (systemCode(error) !== "ENOENT") throw toStoreError(error, `Reading ${path}`);
    throw new StoreError("not_found", `${path}: no such file`, {
      hint: "copy it from the first node, where membershipd cluster plan made it",
    });
  }
  if (isOpen(found.mode)) throw new StoreError("refused", `${path}: ${openness(found.mode)}`);
  return parseJoin(found.text);
}

interface Flags {
  dir: string;
  json?: true;
  passphrase?: true;
  passphraseFile?: string;
}

/** Checks everything and writes the node's files; null if there are problems, which it has shown. */
async function enter(
  context: Context,
  path: string,
  file: JoinFile,
  flags: Flags,
  given: Given,
): Promise<PlanFinding[] | null> {
  refuseTime(path, file);
  const passphrase = await passphraseOf(context, flags);
  if (passphrase !== null && !file.locked) {
    throw new UsageError(`${path} is not encrypted with a passphrase`);
  }
  const content = await file.open(passphrase ?? undefined);
  const files = demandFiles(content);
  const db = given.flags.db!;
  await refuseUsed(flags.dir, fingerprint(parseServiceKeys(files[FILES.keys]!, FILES.keys)));
  const node = {
    name: file.name,
    cluster: file.cluster,
    plan: file.plan,
    state: "clustered",
    settings: content.settings,
    alone: content.alone,
  } as const;
  const { settings } = resolve({ ...given, node: located(node, nodePath(db)) });
  const refused = problemsOf(settings);
  if (refused.length > 0) throw new UsageError(refused.join("\nerror: "));
  const findings = await selfFindings(context, file, content, settings);
  if (findings.some((it) => it.level === "problem")) {
    if (flags.json) await printJson(context, { node: null, findings });
    await tellProblems(context, flags.json ? [] : findings);
    return null;
  }
  // The node file last: without it the directory is that of no node, and the next run begins again.
  await writeFiles(flags.dir, files);
  await writeNode(db, node);
  return findings;
}

/** Refuses a file that is not of its time. */
function refuseTime(path: string, { name, createdAt, expiresAt }: JoinFile): void {
  const now = Date.now();
  const clock = `this machine's clock says ${new Date(now).toISOString()}`;
  if (now > Date.parse(expiresAt)) {
    throw new StoreError("refused", `${path} expired at ${expiresAt}; ${clock}`, {
      hint: `run membershipd cluster plan on the first node again and copy the new ${name}.join`,
    });
  }
  if (Date.parse(createdAt) - now > MAX_SKEW_MS) {
    throw new StoreError("refused", `${path} was made at ${createdAt}; ${clock}`, {
      hint: "set the clocks of all nodes by NTP",
    });
  }
}

/** Returns the files of a node; a path elsewhere is refused. */
function demandFiles({ files }: JoinContent): JoinContent["files"] {
  const known: readonly string[] = Object.values(FILES);
  const other = Object.keys(files).find((it) => !known.includes(it));
  if (other === undefined) return files;
  throw new StoreError("invalid", `The .join file has an unknown file ${JSON.stringify(other)}`);
}

interface Joined {
  file: JoinFile;
  db: string;
  config: string | undefined;
  before: boolean;
  findings: PlanFinding[];
}

async function tell(
  context: Context,
  { json, dir }: Flags,
  { file: { name, cluster, plan }, db, config, before, findings }: Joined,
): Promise<void> {
  const start = startLine(db, config);
  if (json) {
    return await printJson(context, { node: name, cluster, plan, dir, before, start, findings });
  }
  await print(
    context,
    ...findings.map(lineOf),
    `${before ? "already joined" : "joined"} as ${name} of cluster ${cluster}, in ${dir}`,
    `start: ${start}`,
    `or as a service (docs/deploy), with UNIBUS_DB=${
      absolute(db)
    }: systemctl enable --now membershipd`,
  );
  await say(context, `it then waits for membershipd grow; delete the .join file, it holds keys`);
}
