/**
 * `verify`
 *
 * @module
 */

import {
  command,
  type CommandUnknownOpts,
  type Context,
  DB_HELP,
  withJson,
  withProgress,
  withServer,
} from "../../command.ts";
import { chosenFile } from "../../store/chosen.ts";
import { type ComparedHistory, tellDifferences } from "../../store/compare.ts";
import { natsTarget, openFile, openNats } from "../../store/open.ts";
import { isFollower, verifyFollower } from "../follower/inspect.ts";
import type { Store } from "../../../mod.ts";
import type { HistoryEntry } from "../../../src/core/history/entry.ts";
import { compareRevisionTexts } from "../../../src/core/history/revision.ts";
import type { HistorySource, StoredEntry } from "../../../src/core/history/source.ts";
import { switchOf } from "../../../src/core/store/switching.ts";

/** Creates the command. */
export function verifyCommand(context: Context): CommandUnknownOpts {
  return withJson(withProgress(withServer(
    command(
      context,
      "verify",
      "Compare a SQLite file with a NATS JetStream bucket, record by record, and list the differences " +
        "by key; and their histories. The file can be a follower in use: then keys are compared as of its position. " +
        "Writes nothing. Exits with code 3 if they differ",
      [
        "membershipd verify --db ./local_files/unibus.db --nats-url nats://127.0.0.1:4222",
        "membershipd verify --db ./local_files/follower.db --nats-url nats://127.0.0.1:4222",
        "membershipd verify --nats-url nats://127.0.0.1:4222 --json | jq .equal",
      ],
    ).option("--db <path>", DB_HELP),
  ))).action(async (flags) => {
    const db = await chosenFile(context, flags.db);
    if (await isFollower(db)) {
      return await verifyFollower(context, flags, db, await natsTarget(context, flags));
    }
    await using file = await openFile(db, { readOnly: true, create: false });
    await using bucket = await openNats(context, flags, false);
    const { signal } = context.io;
    await tellDifferences(context, flags, {
      name: db,
      word: "sqlite",
      records: file.records({ signal }),
    }, {
      name: `bucket ${flags.bucket ?? "UNIBUS"}`,
      word: "kv",
      records: bucket.records({ signal }),
    }, () => compareHistories(file, bucket, signal));
  });
}

/** Compares the entries that neither store has pruned; `null` if one of them keeps no history. */
async function compareHistories(
  left: Store,
  right: Store,
  signal: AbortSignal,
): Promise<ComparedHistory | null> {
  const a = switchOf(left).history;
  const b = switchOf(right).history;
  if (a === undefined || b === undefined) return null;
  const cut = later((await a.start()).revision, (await b.start()).revision);
  await using one = new Side(a, cut, signal);
  await using other = new Side(b, cut, signal);
  let entries = 0;
  await Promise.all([one.next(), other.next()]);
  for (;;) {
    const [x, y] = [one.entry, other.entry];
    if (x === null && y === null) return { equal: true, entries, differs: null };
    const order = x === null ? 1 : y === null ? -1 : compareRevisionTexts(x.revision, y.revision);
    if (order === 0 && JSON.stringify(x) === JSON.stringify(y)) {
      entries++;
      await Promise.all([one.next(), other.next()]);
      continue;
    }
    const alone = order <= 0 ? x! : y!;
    const isEnd = order < 0 ? y === null : order > 0 && x === null;
    if (!isEnd || alone.action !== "store.moved") {
      return { equal: false, entries, differs: alone.revision };
    }
    await (order < 0 ? one : other).next();
  }
}

function later(a: string | null, b: string | null): string | null {
  if (a === null || b === null) return a ?? b;
  return compareRevisionTexts(a, b) < 0 ? b : a;
}

/** One of the two and its current entry. */
class Side implements AsyncDisposable {
  entry: HistoryEntry | null = null;
  readonly #entries: AsyncIterator<StoredEntry>;
  readonly #cut: string | null;

  constructor(source: HistorySource, cut: string | null, signal: AbortSignal) {
    this.#entries = source.walk(null, signal)[Symbol.asyncIterator]();
    this.#cut = cut;
  }

  async next(): Promise<void> {
    do {
      const { done, value } = await this.#entries.next();
      this.entry = done ? null : value.entry;
    } while (
      this.entry !== null && this.#cut !== null &&
      compareRevisionTexts(this.entry.revision, this.#cut) <= 0
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#entries.return?.();
  }
}
