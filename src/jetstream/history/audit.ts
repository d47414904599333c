/**
 * Checks the archive of a bucket's history: that it has no gaps, that its messages are in order, and that
 * they are those of the bucket's stream, where entries live for some days.
 *
 * @module
 */

import { FIRST_HEAD, headAfter } from "../../core/history/chain.ts";
import {
  compareRevisions,
  formatRevision,
  type Revision,
  revisionOfEnd,
} from "../../core/history/revision.ts";
import type { ChainEnd, HistoryProblem } from "../../core/history/source.ts";
import { counted } from "../../core/text/counted.ts";
import type { Bucket } from "../log/bucket.ts";
import type { Placed } from "../records/entries.ts";
import type { Context } from "../transactions/context.ts";
import { archiveInfo, archiveOf } from "./archive.ts";
import type { Cut } from "./cut.ts";
import { lastArchived, type Message, messagesOf } from "./messages.ts";
import { Repeats } from "./repeats.ts";

/**
 * Checks the archive up to its present end.
 *
 * @param start Where the history was cut, and up to where it was written back
 */
export async function* auditArchive(
  context: Context,
  start: Cut,
  signal?: AbortSignal,
): AsyncGenerator<HistoryProblem> {
  const { bucket } = context;
  const { stream } = archiveOf(bucket.name);
  const info = await archiveInfo(bucket, context.deadline());
  if (info === null) return yield { revision: null, message: `Stream ${stream} does not exist` };
  const { deny_delete, sources } = info.config;
  if (!deny_delete || !sources?.some(({ name }) => name === bucket.stream)) {
    yield { revision: null, message: `The configuration of stream ${stream} was changed` };
  }
  const soon = () => context.deadline();
  const audit = new Audit(bucket, start, messagesOf(bucket, "bucket", soon, signal));
  const end = (await lastArchived(bucket, soon()))?.sequence ?? 0;
  for await (const message of messagesOf(bucket, "archive", soon, signal, end)) {
    yield* await audit.next(message);
  }
  yield* await audit.end();
}

class Audit {
  readonly #bucket: Bucket;
  readonly #cut: Revision | null;
  /** The last entry that a repair wrote back, and whether an entry tells of that. */
  readonly #restored: ChainEnd | null;
  #isTold = false;
  readonly #stream: AsyncIterator<Message>;
  /** The next entry of the bucket's stream; undefined before the first. */
  #other: Message | null | undefined;
  /** Whether an entry of the bucket's stream was passed, so that later ones have not expired. */
  #hasPassed = false;
  #last: Message | null = null;
  #origin = 0;
  #at: Revision | null = null;
  readonly #recent = new Repeats();

  constructor(bucket: Bucket, cut: Cut, stream: AsyncIterator<Message>) {
    this.#bucket = bucket;
    this.#cut = revisionOfEnd(cut);
    this.#restored = cut.restored ?? null;
    this.#stream = stream;
  }

  /** Takes the next message of the archive; returns what is wrong with it. */
  async next(message: Message): Promise<HistoryProblem[]> {
    const { sequence, origin, stream, placed, problem } = message;
    const found: HistoryProblem[] = [];
    const revision = textOf(placed?.at ?? this.#at);
    const tell = (what: string) => found.push({ revision, message: what });
    if (this.#last !== null && sequence !== this.#last.sequence + 1) {
      const gap = sequence - this.#last.sequence - 1;
      tell(
        `${
          counted(gap, "message was", "messages were")
        } deleted from the archive before revision ${revision}`,
      );
    }
    this.#last = message;
    if (problem !== null) tell(problem.message);
    this.#note(placed);
    const isOurs = stream === null
      ? placed !== null && this.#isBrought(placed.at)
      : stream === this.#bucket.stream;
    if (!isOurs) {
      if (problem === null) {
        tell(`Revision ${revision} was inserted: neither the bucket nor a move has brought it`);
      }
      return found;
    }
    if (placed !== null && !this.#isNext(placed)) {
      tell(`Revision ${revision} was inserted: it stands after ${textOf(this.#at)}`);
    }
    if (origin !== null && origin > this.#origin) {
      this.#origin = origin;
      found.push(...await this.#compare(message, origin));
    }
    return found;
  }

  /** Returns what is wrong at the end: a repair that no entry tells of. */
  async end(): Promise<HistoryProblem[]> {
    if (this.#restored === null) return [];
    // The archive may not have taken that entry yet.
    let other = this.#other === undefined ? await this.#read() : this.#other;
    for (; !this.#isTold && other !== null; other = await this.#read()) this.#note(other.placed);
    if (this.#isTold) return [];
    const { revision } = this.#restored;
    const message =
      `Revisions up to ${revision} were inserted: no entry says that they were restored`;
    return [{ revision, message }];
  }

  #note(placed: Placed | null): void {
    if (this.#restored === null || placed?.entry.action !== "history.restored") return;
    const { upTo, head } = placed.entry.after ?? {};
    if (upTo === this.#restored.revision && head === this.#restored.head) this.#isTold = true;
  }

  /** Whether a move may have brought an entry, which is of an earlier generation, or a repair has. */
  #isBrought(at: Revision): boolean {
    return at.generation < this.#bucket.generation || this.#isRestored(at);
  }

  #isRestored(at: Revision): boolean {
    const restored = this.#restored && revisionOfEnd(this.#restored);
    return restored !== null && compareRevisions(at, restored) <= 0;
  }

  /** Whether an entry comes after all before it, or repeats one: an archive with a new leader may do so. */
  #isNext(placed: Placed): boolean {
    const { at } = placed;
    const text = formatRevision(at);
    const content = digestOf(placed);
    if (this.#at !== null && compareRevisions(at, this.#at) <= 0) {
      return this.#recent.has(text, content);
    }
    this.#at = at;
    this.#recent.add(text, content);
    return true;
  }

  /** Compares an entry with that of the bucket's stream. */
  async #compare(message: Message, origin: number): Promise<HistoryProblem[]> {
    const { placed } = message;
    const found: HistoryProblem[] = [];
    let other = this.#other === undefined ? await this.#read() : this.#other;
    for (; other !== null && other.sequence < origin; other = await this.#read()) {
      const { placed } = other;
      this.#hasPassed = true;
      if (placed === null || this.#isPruned(placed.at) || this.#isRestored(placed.at)) continue;
      const revision = formatRevision(placed.at);
      found.push({ revision, message: `Revision ${revision} was dropped from the archive` });
    }
    const revision = textOf(placed?.at ?? this.#at);
    if (other?.sequence !== origin) {
      // Otherwise it may have expired.
      if (this.#hasPassed && other !== null) {
        const message = `Revision ${revision} was inserted: it is not in the bucket's stream`;
        found.push({ revision, message });
      }
      return found;
    }
    const isRead = message.problem === null && other.problem === null;
    if (isRead && digestOf(placed) !== digestOf(other.placed)) {
      const message = `Revision ${revision} was changed: it is another one in the bucket's stream`;
      found.push({ revision, message });
    }
    this.#hasPassed = true;
    await this.#read();
    return found;
  }

  #isPruned(at: Revision): boolean {
    return this.#cut !== null && compareRevisions(at, this.#cut) <= 0;
  }

  async #read(): Promise<Message | null> {
    const { value, done } = await this.#stream.next();
    this.#other = done ? null : value;
    return this.#other!;
  }
}

function digestOf(placed: Placed | null): string {
  return placed === null ? "" : headAfter(FIRST_HEAD, placed.entry);
}

function textOf(at: Revision | null): string | null {
  return at && formatRevision(at);
}
