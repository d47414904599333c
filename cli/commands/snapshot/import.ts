/**
 * `snapshot import`
 *
 * @module
 */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Store } from "../../../mod.ts";
import { counted } from "../../../src/core/text/counted.ts";
import { exportSnapshot, importSnapshot } from "../../../src/snapshot/mod.ts";
import {
  command,
  type CommandUnknownOpts,
  type Context,
  type StoreFlags,
  withJson,
  withProgress,
  withStore,
} from "../../command.ts";
import { chosenStore } from "../../store/chosen.ts";
import { bytesOf, writeWhole } from "../../terminal/files.ts";
import { checkStoreFlags, withOpenStore } from "../../store/open.ts";
import {
  countsText,
  digestLines,
  historyText,
  print,
  printJson,
  say,
  totalOf,
} from "../../terminal/output.ts";
import { Progress } from "../../terminal/progress.ts";
import { checkSnapshot } from "./verify.ts";

/** Creates the command. */
export function importCommand(context: Context): CommandUnknownOpts {
  return withJson(withProgress(withStore(
    command(
      context,
      "import",
      "Import a snapshot into an empty store, including epochs, statuses and times. Creates the " +
        "store if it does not exist; a file that has no history gets the snapshot's, a bucket none. Checks " +
        "the snapshot before it writes anything. With --replace, stop the server first",
      [
        "membershipd snapshot import backup.ndjson --db ./restored.db",
        "gunzip <backup.ndjson.gz | membershipd snapshot import - --nats-url nats://127.0.0.1:4222",
      ],
    )
      .argument("<file>", "the snapshot; - is stdin")
      .option("--no-history", "import only the records")
      .option("--replace", "replace the store's contents, after saving them to a file"),
  ))).action(async (given, flags) => {
    checkStoreFlags(await chosenStore(context, flags));
    const { io } = context;
    await using file = given === "-" ? await fromStdin(context) : named(given);
    using progress = new Progress(io, flags);
    const { counts } = await checkSnapshot(context, progress, file.path);
    const total = totalOf(counts);
    const replace = flags.replace === true;
    await withOpenStore(context, flags, { create: true, alone: replace }, async (store, chosen) => {
      const saved = replace ? await saveBefore(context, chosen, store) : null;
      // Printed immediately: it is most important if the import fails.
      if (saved !== null && !flags.json) {
        await print(context, `saved previous contents -> ${saved}`);
      }
      const takesHistory = chosen.natsUrl === undefined &&
        (await store.history({ limit: 1 })).items.length === 0;
      const onProgress = (done: number) => progress.show({ phase: "import", done, total });
      onProgress(0);
      const { digests, digest, history } = await importSnapshot(store, bytesOf(io, file.path), {
        replace,
        history: flags.history,
        signal: io.signal,
        onProgress,
      });
      progress.show({ phase: "done", done: total, total });
      const all = { ...digests, all: digest };
      const past = flags.history ? history : null;
      const imported = takesHistory ? past?.count ?? null : null;
      if (past !== null && !takesHistory) {
        const why = chosen.natsUrl === undefined
          ? "the file has one already"
          : "a bucket takes none; import the snapshot into a file and move that with migrate-to-kv";
        const size = counted(past.count, "entry", "entries");
        await say(context, `warning: the history (${size}) was not imported: ${why}`);
      }
      if (flags.json) {
        const document = { file: given, saved, counts, history: imported, digests: all };
        return await printJson(context, document);
      }
      const from = given === "-" ? "stdin" : given;
      const what = countsText(counts) + historyText(imported);
      await print(context, `imported ${what} from ${from}`, ...digestLines(all));
    });
  });
}

interface Source extends AsyncDisposable {
  path: string;
}

function named(path: string): Source {
  return { path, [Symbol.asyncDispose]: () => Promise.resolve() };
}

/** Saves stdin to a temporary file, because the snapshot is read twice: to check and to import. */
async function fromStdin({ io }: Context): Promise<Source> {
  const directory = await mkdtemp(join(tmpdir(), "membershipd-"));
  const remove = () => rm(directory, { recursive: true, force: true });
  const path = join(directory, "snapshot.ndjson");
  try {
    await writeWhole(path, bytesOf(io, "-"), { force: false, signal: io.signal });
  } catch (error) {
    await remove();
    throw error;
  }
  return { path, [Symbol.asyncDispose]: remove };
}

/**
 * Saves a store's contents to a snapshot, next to the SQLite file or, for a bucket, in the working
 * directory. Returns the snapshot's path, or `null` if the store is empty.
 */
async function saveBefore(
  { io: { signal } }: Context,
  { db, natsUrl, bucket = "UNIBUS" }: StoreFlags,
  store: Store,
): Promise<string | null> {
  if (await isEmpty(store, signal)) return null;
  const { stamp } = await import("../../../src/move/steps.ts");
  const path = `${natsUrl === undefined ? db : `./${bucket}`}.replaced-${stamp()}.ndjson`;
  await writeWhole(path, exportSnapshot(store, { signal }), { force: false, signal });
  return path;
}

async function isEmpty(store: Store, signal: AbortSignal): Promise<boolean> {
  for await (const _ of store.records({ signal })) return false;
  return true;
}
