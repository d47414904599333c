/**
 * Whether the file of a follower still says what was written to it, while it follows: a bit that changes
 * on its disk would be shown by searches.
 *
 * @module
 */

import { isStoreError, StoreError } from "../../core/errors.ts";
import { type Kind, KINDS } from "../../core/model.ts";
import { counted } from "../../core/text/counted.ts";
import { isIndex, parseKey } from "../../jetstream/records/keys.ts";
import { wait } from "../../jetstream/log/wire.ts";
import { type Row, TABLES } from "../../sqlite/rows.ts";
import { openReader } from "../../sqlite/search/mod.ts";
import type { Asked } from "../../sqlite/search/sql.ts";
import { checkValue } from "../file/check.ts";
import { idOf } from "../file/changes.ts";
import { heldValue, valueOfRow } from "../file/values.ts";

/** Keys that are checked at once; takes a few milliseconds. */
const PIECE = 200;
/**
 * How many times as long as a check took nothing is done after it, and how many milliseconds at most: it
 * takes 1 % of a core, and what it waits for on a busy machine does not make it slower still.
 */
const REST = { times: 99, longest: 1000 };
/** Pause between two passes, milliseconds. */
const PAUSE = 10_000;

const ENTRY = `SELECT key, revision, hash, value,
  (SELECT value FROM follower_quarantine AS bad WHERE bad.key = entry.key)
  FROM follower_entries AS entry`;

/** A row of {@link ENTRY}. */
type EntryRow = [string, number, Uint8Array, Uint8Array | null, Uint8Array | null];

/** Goes over a file again and again until it is stopped. */
export class SelfCheck {
  readonly #path: string;
  readonly #onDamage: (error: StoreError) => void;
  readonly #pause: number;
  readonly #ending = new AbortController();
  readonly #done: Promise<void>;

  /**
   * @param path The file; others write it
   * @param onDamage Told once of what is wrong with it; `corrupt`
   * @param pause Between two passes, milliseconds
   */
  constructor(path: string, onDamage: (error: StoreError) => void, pause = PAUSE) {
    this.#path = path;
    this.#onDamage = onDamage;
    this.#pause = pause;
    this.#done = this.#run();
  }

  /** Ends, and closes the file. */
  stop(): Promise<void> {
    this.#ending.abort();
    return this.#done;
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending;
    while (!signal.aborted) {
      try {
        await this.#pass();
      } catch (error) {
        if (signal.aborted) return;
        if (isStoreError(error, "corrupt")) return this.#onDamage(error);
        // It is busy, or the disk does not answer: the next pass looks again.
      }
      await wait(this.#pause, signal).catch(() => {});
    }
  }

  /** Goes over the file once, with a connection that has nothing of it in memory yet. */
  async #pass(): Promise<void> {
    const { signal } = this.#ending;
    const thread = openReader(this.#path, `Checking ${this.#path}`);
    const ask = (asked: Asked[]) => thread.ask("ask", asked);
    const paced = async <T>(work: () => Promise<T>): Promise<T> => {
      const began = performance.now();
      const result = await work();
      await wait(Math.min(REST.times * (performance.now() - began), REST.longest), signal);
      return result;
    };
    try {
      await paced(() => this.#checkPages(ask));
      for (let last: string | null = ""; last !== null;) {
        const from: string = last;
        last = await paced(() => this.#checkKeys(ask, from));
      }
      await paced(() => this.#checkCounts(ask));
    } finally {
      await thread.close();
    }
  }

  async #checkPages(ask: Ask): Promise<void> {
    const [[row]] = await ask([{ sql: "PRAGMA integrity_check(1)", values: [] }]) as [Row[]];
    if (row![0] !== "ok") this.#fail(String(row![0]).replaceAll(/\s*\n\s*/g, "; "));
  }

  /** Checks some keys after one; returns the last of them, `null` at the end. */
  async #checkKeys(ask: Ask, after: string): Promise<string | null> {
    const sql = `${ENTRY} WHERE key > ? ORDER BY key LIMIT ${PIECE}`;
    const [entries] = await ask([{ sql, values: [after] }]) as unknown as [EntryRow[]];
    const asked = entries!.flatMap(([key]) => recordQuery(key));
    const rows = await ask(asked);
    let at = 0;
    for (const entry of entries!) {
      const own = rows.slice(at, at += recordQuery(entry[0]).length);
      // It may have been written between the two.
      if (this.#problemOf(entry, own) !== null) await this.#checkKey(ask, entry[0]);
    }
    return entries!.at(-1)?.[0] ?? null;
  }

  /** Checks a key as of one moment. */
  async #checkKey(ask: Ask, key: string): Promise<void> {
    const asked = [{ sql: `${ENTRY} WHERE key = ?`, values: [key] }, ...recordQuery(key)];
    const [[entry], ...rows] = await ask(asked) as unknown as [EntryRow[], ...Row[][]];
    const problem = entry === undefined ? null : this.#problemOf(entry, rows);
    if (problem !== null) throw problem;
  }

  #problemOf([key, revision, hash, value, bad]: EntryRow, rows: Row[][]): StoreError | null {
    const [[row] = [], [pending] = []] = rows;
    const it = heldValue(this.#path, key, {
      revision,
      hash,
      kept: value ?? bad,
      record: () => row === undefined ? null : valueOfRow(kindOf(key)!, row, pending?.[0]),
    });
    try {
      checkValue(this.#path, key, it, bad !== null);
      return null;
    } catch (error) {
      if (isStoreError(error, "corrupt")) return error;
      return new StoreError("corrupt", `Checking ${this.#path}: ${key} cannot be read`, {
        cause: error,
      });
    }
  }

  /** Compares the numbers of keys and records as of one moment. */
  async #checkCounts(ask: Ask): Promise<void> {
    const count = (rest: string) => ({ sql: `SELECT count(*) FROM ${rest}`, values: [] });
    const found = await ask([
      { sql: "SELECT entries FROM follower", values: [] },
      count("follower_entries"),
      ...KINDS.flatMap((kind) => {
        // "/" is the character after ".".
        const where = `key >= '${kind}.' AND key < '${kind}/'`;
        return [
          count(kind),
          count(`follower_entries WHERE ${where}`),
          count(`follower_quarantine WHERE ${where}`),
        ];
      }),
    ]);
    // Not loaded yet.
    if (found[0]!.length === 0) return;
    const [wanted, entries, ...numbers] = found.map(([row]) => Number(row?.[0]));
    if (entries !== wanted) this.#fail(`it has ${counted(entries!, "key")}, and had ${wanted}`);
    for (const [i, kind] of KINDS.entries()) {
      const [rows, keys, bad] = numbers.slice(3 * i, 3 * i + 3) as [number, number, number];
      if (rows !== keys - bad) {
        this.#fail(
          `it has ${counted(rows, "record")} of ${kind}, and its bucket had ${keys - bad}`,
        );
      }
    }
  }

  #fail(found: string): never {
    throw new StoreError("corrupt", `Checking ${this.#path}: ${found}`);
  }
}

type Ask = (asked: Asked[]) => Promise<Row[][]>;

/** The kind of the record of a key; `null` for an index, or a key that is not known. */
function kindOf(key: string): Kind | null {
  return KINDS.find((kind) => key.startsWith(`${kind}.`)) ?? null;
}

/** What to ask for the record of a key, and of a room for the change under way. */
function recordQuery(key: string): Asked[] {
  const parsed = parseKey(key);
  const kind = kindOf(key);
  if (parsed === null || kind === null || isIndex(key)) return [];
  const { columns, key: of } = TABLES[kind];
  const values = idOf(parsed);
  const where = of.split(", ").map((it) => `${it} = ?`).join(" AND ");
  const record = { sql: `SELECT ${columns} FROM ${kind} WHERE ${where}`, values };
  if (kind !== "rooms") return [record];
  return [record, { sql: "SELECT op FROM follower_pending WHERE room_id = ?", values }];
}
