/**
 * Reads a list, a page at a time: its keys come from one read where they are few, and else from a
 * directory; the page itself is read as of one moment, with the room that it is of.
 *
 * @module
 */

import type { Range } from "../../core/backend.ts";
import type { Room } from "../../core/model.ts";
import { compareText } from "../../core/order.ts";
import { notFound } from "../../core/rules.ts";
import { Directories, type DirectoryOptions } from "../cache/directory.ts";
import { BATCH_LIMIT, type Entry, TooMany } from "../log/bucket.ts";
import type { Context } from "./context.ts";
import { visibleRoom } from "./reads.ts";
import { roomKey } from "../records/keys.ts";
import { unknownKey } from "../records/values.ts";

/** Kinds of records that have a list of all. */
const KINDS = 3;
/** Directories of single rooms and endpoints that are kept. */
const LARGE = 8;

/** Entries by their keys. */
export type Found = ReadonlyMap<string, Entry>;

/** One list. */
export interface List<T> extends DirectoryOptions {
  /** Keys that an item takes. */
  keysOf: (id: string) => string[];
  /** The item, of what was found of its keys; `null` when readers do not see it. */
  item: (id: string, found: Found, room: Room | null) => T | null;
  /** The room that it is of, without which there is no list. */
  roomId?: string;
  /** Whether it is of all records of a kind, whose keys are kept from the first list on. */
  isKind?: boolean;
}

/** Where the ids of a page come from. */
interface Ids {
  after(after: string | null, limit: number): string[];
  /** What has been read with them, the room too; `null` for nothing. */
  known: Found | null;
  /** The sequence that they are as of. */
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
   * @param minimum The sequence that what is read must have seen
   * @throws {StoreError} `not_found`: no such room; `corrupt`: a key cannot be read
   */
  async read<T>(
    list: List<T>,
    range: Range,
    minimum: number = this.#context.floor,
  ): Promise<T[]> {
    const ids = await this.#ids(list, minimum);
    const most = Math.floor(BATCH_LIMIT / list.keysOf("").length);
    const items: T[] = [];
    let { after } = range;
    let createdAt: string | undefined;
    // What readers do not see is no item: where that is much, more is read at a time.
    for (let size = range.limit;; size *= 2) {
      const some = ids.after(after, Math.min(size, most));
      const found = await this.#found(list, some, ids, minimum);
      let room: Room | null = null;
      if (list.roomId !== undefined) {
        room = visibleRoom(list.roomId, found.get(roomKey(list.roomId)));
        // Deleted, or deleted and made again, between two reads.
        if (room === null || room.createdAt !== (createdAt ??= room.createdAt)) {
          return await this.read(list, range, await this.#requireRoom(list.roomId));
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

  /** The ids of a list. All of a kind are in a directory from the first list on. */
  async #ids(list: List<unknown>, minimum: number): Promise<Ids> {
    const { isKind = false } = list;
    const few = isKind ? null : await this.#few(list, minimum);
    if (few !== null) return few;
    const directory = (isKind ? this.#kinds : this.#large).of(list);
    await directory.refresh();
    return {
      after: (after, limit) => directory.after(after, limit),
      known: null,
      sequence: directory.sequence,
    };
  }

  /** Keys that one read takes, with what is under them; `null` when they are more. */
  async #few(
    { what, pattern, idOf, roomId }: List<unknown>,
    minimum: number,
  ): Promise<Ids | null> {
    const room = roomId === undefined ? [] : [roomKey(roomId)];
    const known = await this.#many([...room, pattern], minimum);
    if (known === null) return null;
    const ids: string[] = [];
    for (const key of known.keys()) {
      if (key === room[0]) continue;
      const id = idOf(key);
      if (id === null) throw unknownKey(key, what);
      ids.push(id);
    }
    ids.sort(compareText);
    return {
      after: (after, limit) => {
        const from = after === null ? 0 : ids.findIndex((it) => compareText(it, after) > 0);
        return from < 0 ? [] : ids.slice(from, from + limit);
      },
      known,
      sequence: minimum,
    };
  }

  async #many(patterns: string[], minimum: number): Promise<Map<string, Entry> | null> {
    try {
      return await this.#context.bucket.getMany(patterns, minimum, this.#context.deadline());
    } catch (error) {
      if (error instanceof TooMany) return null;
      throw error;
    }
  }

  /** What is under the keys of some items, and the room, as of one moment. */
  async #found<T>(list: List<T>, some: string[], ids: Ids, minimum: number): Promise<Found> {
    const { known, sequence } = ids;
    const room = list.roomId === undefined || known !== null ? [] : [roomKey(list.roomId)];
    const keys = [...room, ...some.flatMap(list.keysOf)].filter((it) => !known?.has(it));
    if (keys.length === 0) return known ?? new Map();
    const deadline = this.#context.deadline();
    const found = await this.#context.bucket.getMany(keys, Math.max(minimum, sequence), deadline);
    return new Map([...known ?? [], ...found]);
  }

  /** The revision of a room that seems to be gone; `not_found` once a majority says so. */
  async #requireRoom(id: string): Promise<number> {
    const entry = await this.#context.readOne(roomKey(id));
    if (entry === null || visibleRoom(id, entry) === null) throw notFound("room", id);
    return entry.revision;
  }
}
