/**
 * Snapshots in: every line is checked before its record is handed on.
 *
 * @module
 */

import { isStoreError, StoreError } from "../core/errors.ts";
import { NEWER } from "../core/hints.ts";
import { checkedRecords } from "../core/checks/integrity.ts";
import { KINDS, type StoreRecord } from "../core/model.ts";
import { compareRecords, keyText } from "../core/order.ts";
import type { RestoreOptions, Store } from "../core/store.ts";
import {
  decodeRecord,
  HEADER_LINE,
  isTrailer,
  parseObject,
  SNAPSHOT_FORMAT,
  SNAPSHOT_VERSION,
  SnapshotDigest,
  type SnapshotSummary,
  trailerProblem,
} from "./format.ts";
import { damaged, LineReader, type SnapshotSource, TAKE_ANOTHER } from "./lines.ts";

/**
 * Reads a snapshot record by record and returns its summary at the end. Memory stays flat whatever
 * the size of the snapshot.
 *
 * The trailer comes last: records are known to be complete and undamaged only when the generator
 * has returned. Whoever acts on them before must be able to undo it, as `restore` does.
 *
 * Rejects with `corrupt` (the message names the line and what is wrong), `unsupported` (another
 * version) and whatever the source itself throws.
 *
 * @param source Where the snapshot comes from; a stream is canceled when reading ends early
 */
export function readSnapshot(
  source: SnapshotSource,
): AsyncGenerator<StoreRecord, SnapshotSummary> {
  return read(source, () => {});
}

async function* read(
  source: SnapshotSource,
  onSummary: (summary: SnapshotSummary) => void,
): AsyncGenerator<StoreRecord, SnapshotSummary> {
  const lines = new LineReader();
  const digest = new SnapshotDigest();
  let previous: StoreRecord | null = null;
  let summary: SnapshotSummary | null = null;
  for await (const group of lines.groups(source)) {
    for (const line of group) {
      if (summary !== null) throw damaged(lines.number, "follows the trailer");
      if (lines.unfinished) {
        throw damaged(lines.number, "is cut off: the snapshot ends inside it, without its trailer");
      }
      if (lines.number === 1) {
        checkHeader(line);
      } else if (isTrailer(line)) {
        summary = digest.summary();
        const problem = trailerProblem(line, summary);
        if (problem !== null) throw damaged(lines.number, `(the trailer) ${problem}`);
      } else {
        const it = decode(line, lines.number);
        if (previous !== null && compareRecords(previous, it) >= 0) {
          const text = `(${quoted(it)}) is out of order: it does not come behind ${
            quoted(previous)
          }`;
          throw damaged(lines.number, text);
        }
        previous = it;
        digest.add(it, line);
        yield it;
      }
    }
  }
  if (lines.number === 0) {
    throw new StoreError("corrupt", "Source is not a membership snapshot: it is empty", {
      hint: TAKE_ANOTHER,
    });
  }
  if (summary === null) {
    throw new StoreError("corrupt", `Snapshot ends at line ${lines.number} without its trailer`, {
      hint: TAKE_ANOTHER,
    });
  }
  onSummary(summary);
  return summary;
}

/**
 * Checks a whole snapshot and returns its summary: all that {@link readSnapshot} checks, and that
 * the records fit together as `restore` demands. Holds one small entry a room.
 *
 * Rejects with `corrupt`, `unsupported`, and `invalid` for an undamaged snapshot whose records do
 * not fit together.
 */
export async function verifySnapshot(source: SnapshotSource): Promise<SnapshotSummary> {
  return await pass(source, async (records) => {
    for await (const _ of checkedRecords(records));
  });
}

/**
 * Puts a snapshot into a store, with its epochs, statuses and times. All of it or nothing: the
 * store's `restore` keeps nothing when the snapshot proves damaged, even in its last line.
 *
 * Rejects with `corrupt`, `unsupported`, `invalid`, and as `restore` does: `refused` (the store is
 * not empty, without `replace`), `aborted`, `unavailable`.
 *
 * @param store Where the records go
 * @param source Where the snapshot comes from
 * @param options As for {@link Store.restore}
 */
export async function importSnapshot(
  store: Pick<Store, "restore">,
  source: SnapshotSource,
  options: RestoreOptions = {},
): Promise<SnapshotSummary> {
  const restored = { counts: {} as Partial<SnapshotSummary["counts"]> };
  const summary = await pass(source, async (records) => {
    restored.counts = await store.restore(records, options);
  });
  for (const kind of KINDS) {
    if (restored.counts[kind] !== summary.counts[kind]) {
      const found = `${restored.counts[kind]} were restored`;
      throw new StoreError("mismatch", `Snapshot holds ${summary.counts[kind]} ${kind}, ${found}`);
    }
  }
  return summary;
}

/** Lets `use` take all records of a snapshot, and returns the summary. */
async function pass(
  source: SnapshotSource,
  use: (records: AsyncIterable<StoreRecord>) => Promise<void>,
): Promise<SnapshotSummary> {
  let summary: SnapshotSummary | undefined;
  const reader = read(source, (it) => summary = it);
  // No `return` here: who stops early must not end the reader, it is still asked below.
  let started = false;
  function next(): Promise<IteratorResult<StoreRecord, undefined>> {
    started = true;
    return reader.next() as Promise<IteratorResult<StoreRecord, undefined>>;
  }
  const toTheEnd = async () => {
    while (!(await next()).done);
  };
  try {
    await use({ [Symbol.asyncIterator]: () => ({ next }) });
    await toTheEnd();
    return summary!;
  } catch (error) {
    // Records that do not fit together are mostly a symptom of damage, and the file's end tells.
    if (isStoreError(error, "invalid")) await toTheEnd();
    throw error;
  } finally {
    await reader.return(undefined as never);
    // A generator that never ran lets go of nothing, so a file would stay open.
    if (!started && typeof source === "object" && Symbol.asyncIterator in source) {
      await source[Symbol.asyncIterator]().return?.();
    }
  }
}

function checkHeader(line: string): void {
  if (line === HEADER_LINE) return;
  const header = parseObject(line);
  if (header?.format !== SNAPSHOT_FORMAT) throw damaged(1, "is not its header");
  const { version } = header;
  if (Number.isSafeInteger(version) && version !== SNAPSHOT_VERSION) {
    throw new StoreError(
      "unsupported",
      `Snapshot has version ${version}, this code reads version ${SNAPSHOT_VERSION}`,
      { hint: NEWER },
    );
  }
  throw damaged(1, "is not its header in canonical form");
}

function decode(line: string, number: number): StoreRecord {
  try {
    return decodeRecord(line);
  } catch (error) {
    if (!isStoreError(error)) throw error;
    const problem = error.code === "corrupt"
      ? error.message.replace(/^Line /, "")
      : `holds a bad record: ${error.message}`;
    throw damaged(number, problem, error);
  }
}

function quoted(it: StoreRecord): string {
  return JSON.stringify(keyText(it));
}
