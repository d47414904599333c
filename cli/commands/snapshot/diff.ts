/**
 * `snapshot diff`
 *
 * @module
 */

import { readSnapshot } from "../../../src/snapshot/mod.ts";
import {
  command,
  type CommandUnknownOpts,
  type Context,
  type NatsFlags,
  withJson,
  withNats,
  withProgress,
} from "../../command.ts";
import { type Side, tellDifferences } from "../../store/compare.ts";
import { UsageError } from "../../terminal/failure.ts";
import { bytesOf, isSqliteFile } from "../../terminal/files.ts";
import { urls } from "../../flags.ts";
import { openFile, openNats } from "../../store/open.ts";

/** Creates the command. */
export function diffCommand(context: Context): CommandUnknownOpts {
  return withJson(withProgress(withNats(
    command(
      context,
      "diff",
      "Compare two states and list the differences by key. Each state is a snapshot file, a SQLite " +
        "file, @nats for the bucket at --nats-url, or - for a snapshot on stdin. Writes nothing. " +
        "Exits with code 3 if they differ",
      [
        "membershipd snapshot diff monday.ndjson tuesday.ndjson",
        "membershipd snapshot diff backup.ndjson ./local_files/unibus.db --json",
        "membershipd snapshot diff backup.ndjson @nats --nats-url nats://127.0.0.1:4222",
      ],
    )
      .argument("<a>", "first state")
      .argument("<b>", "second state"),
  ))).action(async (a, b, flags) => {
    if (a === "-" && b === "-") throw new UsageError("Only one of the two can be stdin");
    if ([a, b].includes(BUCKET) !== (flags.natsUrl !== undefined)) {
      throw new UsageError(`${BUCKET} and --nats-url must be used together`);
    }
    // Checked before either is opened: closing a file releases this process's locks on it.
    const sqlite = { a: await isSqlite(a), b: await isSqlite(b) };
    await using left = await sideOf(context, a, "left", sqlite.a, flags);
    await using right = await sideOf(context, b, "right", sqlite.b, flags);
    await tellDifferences(context, flags, left, right);
  });
}

const BUCKET = "@nats";

async function isSqlite(name: string): Promise<boolean> {
  return name !== "-" && name !== BUCKET && await isSqliteFile(name);
}

async function sideOf(
  context: Context,
  name: string,
  word: string,
  sqlite: boolean,
  flags: NatsFlags,
): Promise<Side & AsyncDisposable> {
  const { io } = context;
  if (name !== BUCKET && !sqlite) {
    const records = readSnapshot(bytesOf(io, name));
    const end = async () => void await records.return(undefined as never);
    return { name, word, records, [Symbol.asyncDispose]: end };
  }
  const store = sqlite
    ? await openFile(name, { readOnly: true, create: false })
    : await openNats(context, { ...flags, natsUrl: flags.natsUrl ?? urls("", []) }, false);
  const records = store.records({ signal: io.signal });
  return { name, word, records, [Symbol.asyncDispose]: () => store.close() };
}
