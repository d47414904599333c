/**
 * Reads snapshots. Every line is validated before its record is returned.
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
 * Reads a snapshot record by record and returns its summary at the end. Memory use is constant.
 *
 * The trailer comes last, so the records are known to be complete and undamaged only after the generator
 * has returned. Be prepared to undo what you do with them before, as `restore` is.
 *
 * @param source The snapshot; a stream is canceled if reading ends early
 * @throws {StoreError} `corrupt`: the message names the line and the problem; `unsupported`: another
 * version. Errors of the source are rethrown
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
        throw damaged(lines.number, "is truncated: the snapshot ends without its trailer");
      }
      if (lines.number === 1) {
        checkHeader(line);
      } else if (isTrailer(line)) {
        summary = digest.summary();
        const problem = trailerProblem(line, summary);
        if (problem !== null) throw damaged(lines.number, `(the trailer) ${problem}`);
      } else {
        const record = decode(line, lines.number);
        if (previous !== null && compareRecords(previous, record) >= 0) {
          const text = `(${quoted(record)}) is out of order: it follows ${quoted(previous)}`;
          throw damaged(lines.number, text);
        }
        previous = record;
        digest.add(record, line);
        yield record;
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
 * Checks a snapshot and returns its summary. Checks what {@link readSnapshot} checks, and that the
 * records are consistent with each other, as `restore` requires. Needs memory for one small entry per
 * room.
 *
 * @throws {StoreError} `corrupt`; `unsupported`; `invalid`: the snapshot is undamaged, but its records
 * are inconsistent
 */
export async function verifySnapshot(source: SnapshotSource): Promise<SnapshotSummary> {
  return await pass(source, async (records) => {
    for await (const _ of checkedRecords(records));
  });
}

/**
 * Imports a snapshot into a store, with its epochs, statuses and times. Imports all of it or nothing,
 * even if only the last line is damaged.
 *
 * @param store The store
 * @param source The snapshot
 * @param options As for {@link Store.restore}
 * @throws {StoreError} `corrupt`; `unsupported`; `invalid`; `refused`: the store is not empty and
 * `replace` is not set; `aborted`; `unavailable`
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
      throw new StoreError(
        "mismatch",
        `Snapshot has ${summary.counts[kind]} ${kind}, restored ${restored.counts[kind]}`,
      );
    }
  }
  return summary;
}

/** Passes all records of a snapshot to `use`, and returns the summary. */
async function pass(
  source: SnapshotSource,
  use: (records: AsyncIterable<StoreRecord>) => Promise<void>,
): Promise<SnapshotSummary> {
  let summary: SnapshotSummary | undefined;
  const reader = read(source, (found) => summary = found);
  // Has no `return`, because the reader is still needed below if `use` stops early.
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
    // Inconsistent records are mostly a symptom of damage, which the end of the file reveals.
    if (isStoreError(error, "invalid")) await toTheEnd();
    throw error;
  } finally {
    await reader.return(undefined as never);
    // A generator that never started releases nothing, so a file would stay open.
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
      `Snapshot has version ${version}, this program supports version ${SNAPSHOT_VERSION}`,
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
      : `has an invalid record: ${error.message}`;
    throw damaged(number, problem, error);
  }
}

function quoted(record: StoreRecord): string {
  return JSON.stringify(keyText(record));
}
