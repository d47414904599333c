/**
 * Compares two states record by record and prints the differences by key.
 *
 * @module
 */

import type { StoreRecord } from "../../src/core/model.ts";
import { counted } from "../../src/core/text/counted.ts";
import { type Difference, diffRecords, SnapshotDigest } from "../../src/snapshot/mod.ts";
import { type Context, type JsonFlag, type ProgressFlag } from "../command.ts";
import { EXIT } from "../terminal/failure.ts";
import { JsonList, print, printable, totalOf } from "../terminal/output.ts";
import { Progress } from "../terminal/progress.ts";

/** One of the two states. */
export interface Side {
  /** Display name, such as a file's path. */
  name: string;
  /** Name in JSON, such as `left` or `sqlite`. */
  word: string;
  /** Its records in canonical order. */
  records: AsyncIterable<StoreRecord>;
}

/** What a comparison of two histories found. */
export interface ComparedHistory {
  /** Whether they are equal, but for what tells of the move between the two. */
  equal: boolean;
  /** Number of entries that both have. */
  entries: number;
  /** The first revision at which they differ; null if they do not. */
  differs: string | null;
}

/**
 * Compares two states, prints each difference as it is found, and sets the exit code.
 *
 * @param compared Compares their histories, if they have some
 */
export async function tellDifferences(
  context: Context,
  flags: JsonFlag & ProgressFlag,
  left: Side,
  right: Side,
  compared: () => Promise<ComparedHistory | null> = () => Promise.resolve(null),
): Promise<void> {
  using progress = new Progress(context.io, flags);
  const a = new Counted(left);
  const b = new Counted(right);
  const list = flags.json ? new JsonList(context, "differences") : null;
  let found = 0;
  const tell = () => progress.show({ phase: "compare", done: a.count + b.count, total: null });
  for await (const entry of diffRecords(a.records(context, tell), b.records(context, tell))) {
    found++;
    if (list === null) await print(context, lineOf(entry, left, right));
    else await list.add({ ...entry, change: wordOf(entry, left, right) });
  }
  progress.show({ phase: "done", done: a.count + b.count, total: a.count + b.count });
  const history = await compared();
  const equal = found === 0 && history?.equal !== false;
  if (list !== null) {
    const more = history && { history };
    await list.end({ equal, [left.word]: a.summary(), [right.word]: b.summary(), ...more });
  } else if (found === 0) {
    const { counts, digest } = a.summary();
    await print(context, `equal: ${counted(totalOf(counts), "record")}, sha256 ${digest}`);
  } else {
    const sides = `${left.name} has ${counted(a.count, "record")}, ${right.name} has ${b.count}`;
    await print(context, `different: ${counted(found, "difference")}; ${printable(sides)}`);
  }
  if (list === null && history !== null) {
    await print(
      context,
      history.equal
        ? `history: ${counted(history.entries, "equal entry", "equal entries")}`
        : `history: different from revision ${history.differs} on`,
    );
  }
  if (!equal) context.exitCode = EXIT.different;
}

class Counted {
  count = 0;
  readonly #digest = new SnapshotDigest();
  readonly #side: Side;

  constructor(side: Side) {
    this.#side = side;
  }

  async *records({ io }: Context, tell: () => void): AsyncGenerator<StoreRecord> {
    for await (const record of this.#side.records) {
      this.#digest.add(record);
      if (++this.count % 1000 === 0) {
        tell();
        io.signal.throwIfAborted();
      }
      yield record;
    }
  }

  summary() {
    return this.#digest.summary();
  }
}

function wordOf({ change }: Difference, left: Side, right: Side): string {
  if (change === "different") return change;
  return `only-${change === "only-left" ? left.word : right.word}`;
}

function lineOf({ key, change, fields }: Difference, left: Side, right: Side): string {
  const name = printable(key);
  if (change === "different") return `different: ${name} (${fields?.join(", ")})`;
  return `only in ${printable(change === "only-left" ? left.name : right.name)}: ${name}`;
}
