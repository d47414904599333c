/**
 * Writes entries into the archive that come by no transaction of its bucket.
 *
 * @module
 */

import { jetstream, type JetStreamClient } from "@nats-io/jetstream";
import { nuid } from "@nats-io/transport-node";
import { StoreError } from "../../core/errors.ts";
import type { HistoryEntry } from "../../core/history/entry.ts";
import {
  compareRevisions,
  formatRevision,
  parseRevision,
  type Revision,
} from "../../core/history/revision.ts";
import type { Bucket } from "../log/bucket.ts";
import { publish, rawHeaders, wait } from "../log/wire.ts";
import { encodeMoved } from "../records/entries.ts";
import { archiveInfo, archiveOf } from "./archive.ts";
import { lastArchived } from "./messages.ts";

/** Pause before entries are sent again, milliseconds. */
const LOOK = 20;
/** How long one batch may take, milliseconds. */
const TRY = 5_000;
/** How long one request may take, milliseconds. */
const PATIENCE = 10_000;

/** Writes entries behind the archive's last one, each once, whatever is sent twice. */
export class ArchiveWriter {
  readonly #bucket: Bucket;
  readonly #js: JetStreamClient;
  readonly #check: () => void;
  /** The archive's last sequence. */
  #sequence: number;
  #last: Revision | null;
  /** Number of entries written. */
  written = 0;

  private constructor(
    bucket: Bucket,
    last: Revision | null,
    sequence: number,
    check: () => void,
  ) {
    this.#bucket = bucket;
    this.#last = last;
    this.#sequence = sequence;
    this.#check = check;
    this.#js = jetstream(bucket.nc);
  }

  /**
   * Begins at the present end of the archive.
   *
   * @param last The last entry that counts as written
   * @param check Throws when writing is to end
   */
  static async begin(
    bucket: Bucket,
    last: Revision | null,
    check: () => void,
  ): Promise<ArchiveWriter> {
    const info = await archiveInfo(bucket, Date.now() + PATIENCE);
    return new ArchiveWriter(bucket, last, info?.state.last_seq ?? 0, check);
  }

  /** The last entry that was written. */
  get last(): Revision | null {
    return this.#last;
  }

  /**
   * Writes entries, at most {@link BATCH_LIMIT} at once: all of them, or none.
   *
   * @throws {StoreError} `unavailable`: the server does not take them; `refused`: others write as well
   */
  async write(entries: readonly HistoryEntry[], deadline: number): Promise<void> {
    let rest = entries;
    while (rest.length > 0) {
      const failed = await this.#send(rest, deadline).then(() => null, (error) => ({ error }));
      if (failed === null) {
        this.#sequence += rest.length;
        this.#last = parseRevision("revision", rest.at(-1)!.revision);
        this.written += rest.length;
        return;
      }
      this.#check();
      if (Date.now() + LOOK > deadline) {
        throw new StoreError(
          "unavailable",
          `Copying the history: the server does not take entries after ${
            this.#last === null ? "the first" : formatRevision(this.#last)
          }`,
          { cause: failed.error },
        );
      }
      await wait(LOOK);
      const before = rest.length;
      await this.#look();
      const { revision } = rest.at(-1)!;
      rest = rest.filter((it) =>
        this.#last === null ||
        compareRevisions(parseRevision("revision", it.revision), this.#last) > 0
      );
      this.written += before - rest.length;
      if (rest.length === 0 && formatRevision(this.#last!) !== revision) {
        throw foreignEntries(this.#bucket);
      }
    }
  }

  /** Sends entries as one batch, behind the archive's last one or not at all. */
  async #send(entries: readonly HistoryEntry[], deadline: number): Promise<void> {
    const { nc, name } = this.#bucket;
    const { subject } = archiveOf(name);
    const timeout = Math.max(1, Math.min(TRY, deadline - Date.now()));
    const id = nuid.next();
    const texts = entries.map(encodeMoved);
    const headersOf = (i: number) =>
      rawHeaders(
        (i === 0 ? `Nats-Expected-Last-Sequence: ${this.#sequence}\r\n` : "") +
          `Nats-Batch-Id: ${id}\r\nNats-Batch-Sequence: ${i + 1}\r\n` +
          (i === texts.length - 1 ? "Nats-Batch-Commit: 1\r\n" : ""),
      );
    const last = texts.length - 1;
    for (let i = 0; i < last; i++) publish(nc, subject, texts[i]!, { headers: headersOf(i) });
    await this.#js.publish(subject, texts[last]!, { headers: headersOf(last), timeout });
  }

  /** Reads how far the archive is. */
  async #look(): Promise<void> {
    const deadline = Date.now() + PATIENCE;
    const { last_seq = 0 } = (await archiveInfo(this.#bucket, deadline))?.state ?? {};
    const found = await lastArchived(this.#bucket, deadline);
    this.#sequence = last_seq;
    // Without an entry it is a change that was not made, from before this copy.
    this.#last = found?.placed?.at ?? this.#last;
  }
}

/** Creates the error for an archive with entries that the file does not have. */
export function foreignEntries(bucket: Bucket): StoreError {
  return new StoreError(
    "refused",
    `The history in ${archiveOf(bucket.name).stream} has entries that the file does not have`,
    {
      field: "history",
      hint: "use another bucket, delete that stream if it is not needed, or leave the history out",
    },
  );
}
