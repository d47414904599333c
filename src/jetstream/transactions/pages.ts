/**
 * Reads lists page by page. The keys come from one batched read if there are few, else from a directory.
 * The records of a page are read in batches, each at one sequence together with the list's room.
 *
 * @module
 */

import type { Range } from "../../core/backend.ts";
import type { Room } from "../../core/model.ts";
import { compareText } from "../../core/order.ts";
import { notFound } from "../../core/rules.ts";
import { Directories, type DirectoryOptions } from "../cache/directory.ts";
import { BATCH_LIMIT, type Entry, TooMany } from "../log/bucket.ts";
import type { Budget, Context } from "./context.ts";
import { visibleRoom } from "./reads.ts";
import { roomKey } from "../records/keys.ts";
import { unknownKey } from "../records/values.ts";

/** Number of kinds that have a list of all records. */
const KINDS = 3;
/** Number of directories of single rooms and endpoints to keep. */
const LARGE = 8;

/** Entries by their keys. */
export type Found = ReadonlyMap<string, Entry>;

/** One list. */
export interface List<T> extends DirectoryOptions {
  /** Returns the keys of an item. */
  keysOf: (id: string) => string[];
  /** Decodes an item; `null` if it is not visible to readers. */
  item: (id: string, found: Found, room: Room | null) => T | null;
  /** Room of the list, which must exist. */
  roomId?: string;
  /** Whether this is the list of all records of a kind, whose directory is always kept. */
  isKind?: boolean;
  /** Reads the IDs, in order, if the list has not all that the keys name. */
  ids?: () => Promise<string[]>;
}

/** The source of the IDs of a page. */
interface Ids {
  after(after: string | null, limit: number): string[];
  /** Entries that were read with the IDs, including the room; `null` if none were. */
  known: Found | null;
  /** The sequence at which the IDs were read. */
  sequence: number;
}

/** Reads pages of lists. */
export class Pages {
  readonly #context: Context;
  readonly #kinds: Directories;
  readonly #large: Directories;

  constructor(context: Context) {
    this.#context = context;
    this.#kinds = new Directories(context.bucket, context.opTimeout, KINDS);
    this.#large = new Directories(context.bucket, context.opTimeout, LARGE);
  }

  /**
   * Reads a page.
   *
   * @param minimum Lowest sequence that the answering replica must have reached
   * @throws {StoreError} not_found: no such room; corrupt: a key cannot be read
   */
  async read<T>(
    list: List<T>,
    range: Range,
    minimum: number = this.#context.floor,
    budget: Budget = this.#context.budget(),
  ): Promise<T[]> {
    const ids = await this.#ids(list, minimum, budget);
    const most = Math.floor(BATCH_LIMIT / list.keysOf("").length);
    const items: T[] = [];
    let { after } = range;
    let createdAt: string | undefined;
    // Invisible records give no items: read larger pieces as long as the page is not full.
    for (let size = range.limit;; size *= 2) {
      const some = ids.after(after, Math.min(size, most));
      const found = await budget.read(() => this.#found(list, some, ids, minimum, budget.deadline));
      let room: Room | null = null;
      if (list.roomId !== undefined) {
        room = visibleRoom(list.roomId, found.get(roomKey(list.roomId)));
        // The room was deleted, or deleted and created again, between two reads.
        if (room === null || room.createdAt !== (createdAt ??= room.createdAt)) {
          const other = await this.#requireRoom(list.roomId, budget.deadline);
          return await this.read(list, range, other, budget);
        }
      }
      for (const id of some) {
        const item = list.item(id, found, room);
        if (item !== null && items.length < range.limit) items.push(item);
      }
      if (items.length === range.limit || some.length < Math.min(size, most)) return items;
      after = some.at(-1)!;
    }
  }

  /** Returns the IDs of a list, from a directory if there are many. */
  async #ids(list: List<unknown>, minimum: number, budget: Budget): Promise<Ids> {
    const { isKind = false } = list;
    if (list.ids !== undefined) {
      return { after: inOrder(await budget.read(list.ids)), known: null, sequence: minimum };
    }
    const few = isKind ? null : await this.#few(list, minimum, budget.deadline);
    if (few !== null) return few;
    const directory = (isKind ? this.#kinds : this.#large).of(list);
    await budget.read(() => directory.refresh());
    return {
      after: (after, limit) => directory.after(after, limit),
      known: null,
      sequence: directory.sequence,
    };
  }

  /** Reads all entries of a short list; `null` if there are more than one read returns. */
  async #few(
    { what, pattern, idOf, roomId }: List<unknown>,
    minimum: number,
    deadline: number,
  ): Promise<Ids | null> {
    const room = roomId === undefined ? [] : [roomKey(roomId)];
    const known = await this.#context.bucket.getMany([...room, pattern], minimum, deadline)
      .catch((error) => {
        if (error instanceof TooMany) return null;
        throw error;
      });
    if (known === null) return null;
    const ids: string[] = [];
    for (const key of known.keys()) {
      if (key === room[0]) continue;
      const id = idOf(key);
      if (id === null) throw unknownKey(key, what);
      ids.push(id);
    }
    return { after: inOrder(ids.sort(compareText)), known, sequence: minimum };
  }

  /** Reads the entries of some items, and of the room, at one sequence. */
  async #found<T>(
    list: List<T>,
    some: string[],
    ids: Ids,
    minimum: number,
    deadline: number,
  ): Promise<Found> {
    const { known, sequence } = ids;
    const room = list.roomId === undefined || known !== null ? [] : [roomKey(list.roomId)];
    const keys = [...room, ...some.flatMap(list.keysOf)].filter((it) => !known?.has(it));
    if (keys.length === 0) return known ?? new Map();
    const found = await this.#context.bucket.getMany(keys, Math.max(minimum, sequence), deadline);
    return new Map([...known ?? [], ...found]);
  }

  /**
   * Returns the revision of a room that a replica did not find.
   *
   * @throws {StoreError} not_found: a majority confirms that there is no such room
   */
  async #requireRoom(id: string, deadline: number): Promise<number> {
    const entry = (await this.#context.read([roomKey(id)], deadline)).get(roomKey(id));
    if (entry === undefined || visibleRoom(id, entry) === null) throw notFound("room", id);
    return entry.revision;
  }
}

/** Returns the pages of IDs that are in order. */
function inOrder(ids: string[]): Ids["after"] {
  return (after, limit) => {
    const from = after === null ? 0 : ids.findIndex((it) => compareText(it, after) > 0);
    return from < 0 ? [] : ids.slice(from, from + limit);
  };
}
