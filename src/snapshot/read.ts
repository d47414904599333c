/**
 * Reads snapshots. Every line is validated before its record is returned.
 *
 * @module
 */

import { createHash } from "node:crypto";
import type { RestoredHistory } from "../core/backend.ts";
import { isStoreError, StoreError } from "../core/errors.ts";
import type { HistoryEntry } from "../core/history/entry.ts";
import type { ChainEnd } from "../core/history/source.ts";
import { NEWER } from "../core/hints.ts";
import { checkedRecords } from "../core/checks/integrity.ts";
import { KINDS, type StoreRecord } from "../core/model.ts";
import { compareRecords, keyText } from "../core/order.ts";
import type { RestoreOptions, Store } from "../core/store.ts";
import {
  decodeRecord,
  HEADER_LINES,
  isTrailer,
  parseObject,
  SNAPSHOT_FORMAT,
  SNAPSHOT_VERSION,
  SnapshotDigest,
  type SnapshotSummary,
  trailerProblem,
} from "./format.ts";
import { decodeEntry, decodeStart, HistoryDigest, isStart } from "./history.ts";
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
  return recordsOf(read(source));
}

async function* recordsOf(
  items: AsyncGenerator<Item, SnapshotSummary>,
): AsyncGenerator<StoreRecord, SnapshotSummary> {
  try {
    for (;;) {
      const next = await items.next();
      if (next.done) return next.value;
      if ("record" in next.value) yield next.value;
    }
  } finally {
    await items.return(undefined as never);
  }
}

/** What a snapshot holds: records, then the start of the history, and its entries. */
type Item = StoreRecord | { start: ChainEnd } | { entry: HistoryEntry };

async function* read(source: SnapshotSource): AsyncGenerator<Item, SnapshotSummary> {
  const lines = new LineReader();
  const digest = new SnapshotDigest();
  let version = 1;
  let previous: StoreRecord | null = null;
  let entries: HistoryDigest | null = null;
  let summary: SnapshotSummary | null = null;
  const file = createHash("sha256");
  for await (const group of lines.groups(source)) {
    for (const line of group) {
      if (summary !== null) throw damaged(lines.number, "follows the trailer");
      if (lines.unfinished) {
        throw damaged(lines.number, "is truncated: the snapshot ends without its trailer");
      }
      if (isTrailer(line) && lines.number > 1) {
        const history = entries?.summary() ?? null;
        summary = { ...digest.summary(), version, history };
        const problem = version > 1 && history === null
          ? "follows the records; the history is missing"
          : trailerProblem(line, summary, file.digest("hex"));
        if (problem !== null) throw damaged(lines.number, `(the trailer) ${problem}`);
        continue;
      }
      // A snapshot of version 1 has no digest of the file.
      if (version > 1) file.update(line + "\n");
      if (lines.number === 1) {
        version = versionOf(line);
        if (version > 1) file.update(line + "\n");
      } else if (version > 1 && entries === null && isStart(line)) {
        const start = decode(decodeStart, line, lines.number);
        entries = new HistoryDigest(start);
        yield { start };
      } else if (entries !== null) {
        const entry = decode(decodeEntry, line, lines.number);
        if (entries.isOutOfOrder(entry)) {
          throw damaged(lines.number, `(revision ${entry.revision}) is out of order`);
        }
        entries.add(entry, line);
        yield { entry };
      } else {
        const record = decode(decodeRecord, line, lines.number);
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

/** Options of {@link importSnapshot}. */
export interface ImportOptions extends Omit<RestoreOptions, "history"> {
  /**
   * Imports the history too, if the snapshot has one, into a file that has none yet. A bucket gets one by
   * a move only. Default `true`.
   */
  history?: boolean;
}

/**
 * Imports a snapshot into a store, with its epochs, statuses and times. Imports all of it or nothing,
 * even if only the last line is damaged.
 *
 * @param store The store
 * @param source The snapshot
 * @param options As for {@link Store.restore}, and whether the history is imported too
 * @throws {StoreError} `corrupt`; `unsupported`; `invalid`; `refused`: the store is not empty and
 * `replace` is not set; `aborted`; `unavailable`
 */
export async function importSnapshot(
  store: Pick<Store, "restore">,
  source: SnapshotSource,
  options: ImportOptions = {},
): Promise<SnapshotSummary> {
  const { history: wanted = true, ...restoring } = options;
  const restored = { counts: {} as Partial<SnapshotSummary["counts"]> };
  const summary = await pass(source, async (records, history) => {
    restored.counts = await store.restore(records, { ...restoring, ...wanted && { history } });
  }, { withHistory: wanted });
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

/**
 * Passes all records of a snapshot to `use`, and returns the summary. If `use` does not call `history`
 * after the records, the rest is read before the records end.
 */
async function pass(
  source: SnapshotSource,
  use: (
    records: AsyncIterable<StoreRecord>,
    history: () => Promise<RestoredHistory | null>,
  ) => Promise<void>,
  { withHistory = false } = {},
): Promise<SnapshotSummary> {
  let summary: SnapshotSummary | undefined;
  const items = read(source);
  let started = false;
  let held: Item | null = null;
  /** Returns the next item; null at the end. */
  const next = async (): Promise<Item | null> => {
    started = true;
    const found = await items.next();
    if (!found.done) return found.value;
    summary ??= found.value;
    return null;
  };
  const toTheEnd = async () => {
    while (await next() !== null);
  };
  // Has no `return`, because the reader is still needed below if `use` stops early.
  const records = {
    async next(): Promise<IteratorResult<StoreRecord, undefined>> {
      const item = await next();
      if (item !== null && "record" in item) return { done: false, value: item };
      held = item;
      if (!withHistory) await toTheEnd();
      return { done: true, value: undefined };
    },
  };
  const entries = {
    async next(): Promise<IteratorResult<HistoryEntry, undefined>> {
      const item = await next();
      return item !== null && "entry" in item
        ? { done: false, value: item.entry }
        : { done: true, value: undefined };
    },
  };
  const history = (): Promise<RestoredHistory | null> =>
    Promise.resolve(
      held !== null && "start" in held
        ? { start: held.start, entries: { [Symbol.asyncIterator]: () => entries } }
        : null,
    );
  try {
    await use({ [Symbol.asyncIterator]: () => records }, history);
    await toTheEnd();
    return summary!;
  } catch (error) {
    // Inconsistent records are mostly a symptom of damage, which the end of the file reveals.
    if (isStoreError(error, "invalid")) await toTheEnd();
    throw error;
  } finally {
    await items.return(undefined as never);
    // A generator that never started releases nothing, so a file would stay open.
    if (!started && typeof source === "object" && Symbol.asyncIterator in source) {
      await source[Symbol.asyncIterator]().return?.();
    }
  }
}

/** Returns the version that the header names. */
function versionOf(line: string): number {
  const known = HEADER_LINES.indexOf(line);
  if (known >= 0) return known + 1;
  const header = parseObject(line);
  if (header?.format !== SNAPSHOT_FORMAT) throw damaged(1, "is not its header");
  const { version } = header;
  if (Number.isSafeInteger(version) && ![1, SNAPSHOT_VERSION].includes(version as number)) {
    throw new StoreError(
      "unsupported",
      `Snapshot has version ${version}, this program supports versions 1 and ${SNAPSHOT_VERSION}`,
      { hint: NEWER },
    );
  }
  throw damaged(1, "is not its header in canonical form");
}

function decode<T>(read: (line: string) => T, line: string, number: number): T {
  try {
    return read(line);
  } catch (error) {
    if (!isStoreError(error)) throw error;
    const problem = error.code === "corrupt"
      ? error.message.replace(/^Line /, "")
      : `has an invalid ${
        read as unknown === decodeRecord ? "record" : "entry of the history"
      }: ${error.message}`;
    throw damaged(number, problem, error);
  }
}

function quoted(record: StoreRecord): string {
  return JSON.stringify(keyText(record));
}
