/**
 * What a room shows, line by line, in blocks: only a block that changed is drawn again, and the browser
 * skips those that are out of sight.
 *
 * @module
 */

/** What a message says: text, or bytes that are no text. */
export type Body = { text: string } | { bytes: number };

/** How far a message of one's own is. `unsure`: it did not come back from the bus in time. */
export type Progress = "sending" | "sent" | "unsure" | "failed";

/** A message, of one's own or of another member. */
export interface Said {
  readonly is: "said";
  /** Endpoint of the sender. */
  readonly from: string;
  /** When it was sent, by the sender's clock. */
  readonly at: number;
  readonly body: Body;
  /** Set for messages that this page has sent. */
  readonly progress?: Progress;
  /** Why it was not sent. */
  readonly why?: string;
  /** A message that was sent later came earlier. */
  readonly late?: boolean;
}

/** Something that happened, in words; `about` is an endpoint whose name begins it. */
export interface Note {
  readonly is: "note";
  readonly text: string;
  readonly tone?: "warn" | "bad";
  readonly about?: string;
  /** Notes of one kind that follow each other are one, with their number. */
  readonly kind?: string;
  readonly count?: number;
}

/** A line. */
export type Line = (Said | Note) & { readonly id: number };

/** Lines that are drawn together. */
export interface Block {
  readonly key: number;
  readonly lines: readonly Line[];
  /** The line before its first. */
  readonly before: Line | null;
}

/** Lines of a block, and blocks that are kept. */
const BLOCK = 50;
const MOST_BLOCKS = 100;

/** The lines of a room. */
export class Lines {
  #blocks: Block[] = [];
  #next = 0;
  /** Whether the oldest lines were dropped. */
  isCut = false;

  /** The blocks. One that changed is another object. */
  get blocks(): readonly Block[] {
    return this.#blocks;
  }

  /** Number of lines. */
  get count(): number {
    return this.#blocks.reduce((sum, it) => sum + it.lines.length, 0);
  }

  /** Adds a line; returns its id. */
  add(it: Said | Note): number {
    const last = this.#blocks.at(-1);
    const before = last?.lines.at(-1) ?? null;
    if (it.is === "note" && it.kind !== undefined && isAlike(before, it)) {
      return this.#put({ ...it, id: before.id, count: (before.count ?? 1) + 1 });
    }
    const line: Line = { ...it, id: this.#next++ };
    if (last !== undefined && last.lines.length < BLOCK) {
      this.#blocks = [...this.#blocks.slice(0, -1), { ...last, lines: [...last.lines, line] }];
      return line.id;
    }
    this.#blocks = [...this.#blocks, { key: line.id, lines: [line], before }];
    if (this.#blocks.length > MOST_BLOCKS) {
      this.#blocks = this.#blocks.slice(1);
      this.isCut = true;
    }
    return line.id;
  }

  /** Changes a message, if it is still there. */
  update(id: number, change: Partial<Omit<Said, "is">>): void {
    const line = this.#blocks.flatMap((it) => it.lines).find((it) => it.id === id);
    if (line?.is === "said") this.#put({ ...line, ...change });
  }

  #put(line: Line): number {
    this.#blocks = this.#blocks.map((block) =>
      block.lines.some((it) => it.id === line.id)
        ? { ...block, lines: block.lines.map((it) => it.id === line.id ? line : it) }
        : block
    );
    return line.id;
  }
}

function isAlike(before: Line | null, it: Note): before is Note & { id: number } {
  return before?.is === "note" && before.kind === it.kind && before.about === it.about;
}
