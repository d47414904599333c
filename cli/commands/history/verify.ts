/**
 * `log verify`
 *
 * @module
 */

import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { type HistoryReport, parseHeads, verifyHistory } from "../../../src/history/mod.ts";
import { openHistory } from "../../../src/sqlite/open_history.ts";
import { signPubOf } from "../../../src/keys/nkey.ts";
import { StoreError } from "../../../src/core/errors.ts";
import { systemCode } from "../../../src/core/host/system_code.ts";
import { counted } from "../../../src/core/text/counted.ts";
import { signPub } from "../../../src/core/validate.ts";
import {
  command,
  type CommandUnknownOpts,
  type Context,
  FOLLOWER_HELP,
  type StoreFlags,
  withJson,
  withProgress,
  withStore,
} from "../../command.ts";
import { followerPath } from "../../settings/settings.ts";
import { serverSettings } from "../../store/chosen.ts";
import { withOpenStore } from "../../store/open.ts";
import { EXIT } from "../../terminal/failure.ts";
import { print, printable, printJson, say } from "../../terminal/output.ts";
import { Progress } from "../../terminal/progress.ts";
import { serviceKey } from "./keys.ts";

/** Creates the command. */
export function verifyLogCommand(context: Context): CommandUnknownOpts {
  return withJson(withProgress(withStore(
    command(
      context,
      "verify",
      "Verify the history: that each entry continues the chain of hashes, and that the chain agrees with " +
        "the heads that nodes signed and with kept ones. Names the first revision at which an entry was " +
        "changed, dropped or inserted. Exits with code 3 if there is one",
      [
        "membershipd log verify",
        "membershipd log verify --head kept-head.json",
        "membershipd log verify --db ./copy.db --key KEY --json",
      ],
    )
      .option("--head <file>", "file with heads that log head wrote, one per line")
      .option("--follower <path>", FOLLOWER_HELP)
      .option(
        "--key <key>",
        "public key that may sign heads, besides this machine's service key; can be repeated",
        (text: string, before: string[] = []) => [...before, signPub("key", text)],
      ),
  ))).action(async (flags) => {
    const { json, key: others = [] } = flags;
    const kept = flags.head === undefined ? [] : parseHeads(await read(flags.head));
    await withOpenStore(context, flags, { read: true }, async (store, { natsUrl }) => {
      const path = natsUrl === undefined ? null : await followerOf(context, flags);
      using copy = path === null ? null : openHistory(path);
      const own = await serviceKey(context, flags);
      const keys = own === null ? others : [signPubOf(own.publicKey)!, ...others];
      using progress = new Progress(context.io, flags);
      const report = await verifyHistory(store, {
        kept,
        ...copy === null ? {} : { copy },
        ...keys.length === 0 ? {} : { keys },
        signal: context.io.signal,
        onProgress: (done) =>
          progress.show({ phase: "verify", done, total: null, unit: "entries" }),
      });
      progress.show({
        phase: "done",
        done: report.entries,
        total: report.entries,
        unit: "entries",
      });
      const equal = report.problems.length === 0;
      if (!equal) context.exitCode = EXIT.different;
      if (json) return await printJson(context, { equal, ...report });
      await print(context, ...linesOf(report).map(printable));
      await warn(context, report, keys.length > 0);
    });
  }) as CommandUnknownOpts;
}

/** Returns the follower's file to compare a bucket with; the default one may be that of another server. */
async function followerOf(
  context: Context,
  { follower, natsUrl }: StoreFlags & { follower?: string },
): Promise<string | null> {
  if (follower !== undefined) return follower;
  if (natsUrl !== undefined) return null;
  const { settings } = await serverSettings(context.io.env);
  const path = followerPath({ ...settings, store: "jetstream" });
  return path !== null && existsSync(path) ? path : null;
}

async function read(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    const why = systemCode(cause) === "ENOENT" ? "no such file" : "cannot be read";
    throw new StoreError("invalid", `--head ${path}: ${why}`, { field: "head", cause });
  }
}

function linesOf({ entries, start, end, witnesses, problems }: HistoryReport): string[] {
  const from = start.revision === null ? "" : ` after ${start.revision}`;
  const seen = witnesses.filter((it) => it.found === "equal" || it.found === "pruned");
  return [
    ...problems.map((it) => `problem: ${it.message}`),
    ...seen.map(({ node, revision, at, from, signed, found }) => {
      const what = from === "stored" ? "head" : signed ? "kept head" : "kept head, not signed,";
      return `${what} of ${node} at ${at}, revision ${revision}: ${found}`;
    }),
    problems.length === 0
      ? `equal: ${counted(entries, "entry", "entries")}${from}, up to revision ${
        end.revision ?? "-"
      }, head ${end.head}`
      : `different: ${counted(problems.length, "problem")} in ` +
        `${counted(entries, "entry", "entries")}; the first one at revision ` +
        `${problems[0]!.revision ?? "-"}`,
  ];
}

/** Says what the result does not show. */
async function warn(
  context: Context,
  { witnesses, entries }: HistoryReport,
  hasKeys: boolean,
): Promise<void> {
  const stored = witnesses.filter((it) => it.from === "stored");
  if (entries > 0 && stored.length === 0) {
    await say(
      context,
      "No signed head is stored. If a server has run here, its heads were removed, and entries may have " +
        "been changed with them: compare with a kept head (--head)",
    );
  } else if (stored.length > 0 && !hasKeys) {
    await say(
      context,
      "The service key is not known here, so a head may be signed by any key; use --key",
    );
  }
  if (stored.length === witnesses.length) {
    await say(
      context,
      "Without --head, a store that was put back as a whole is not noticed; keep a head with log head",
    );
  }
}
