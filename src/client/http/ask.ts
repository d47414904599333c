/**
 * Requests and responses in JSON.
 *
 * @module
 */

import { mapInTurns } from "../../core/async/in_turns.ts";
import { concat, utf8 } from "../../keys/bytes.ts";
import { roomId } from "../../core/validate.ts";
import type { Call } from "./call.ts";
import type { Caller } from "./caller.ts";
import { jsonOf } from "./failure.ts";

interface AskOptions<T> {
  query?: object | undefined;
  /** What is sent; long lists in it as {@link LongList}. */
  json?: object;
  signed?: false;
  /** Converts the response. Default: the JSON is the result. */
  read?: (answer: unknown) => T;
}

/** Calls a path below `/v1/`. */
type Ask = <T>(method: Call<T>["method"], path: string, options?: AskOptions<T>) => Promise<T>;

/** Returns the function that sends JSON calls through `caller`. */
export function askOf(caller: Pick<Caller, "call">): Ask {
  return async <T>(method: Call<T>["method"], path: string, options: AskOptions<T> = {}) => {
    const { json, read, ...how } = options;
    const query = options.query && { ...options.query };
    const body = json && await bodyOf(json);
    return await caller.call<T>({
      method,
      path: `/v1/${path}`,
      ...how,
      ...(query && { query }),
      ...(body && { body, headers: { "content-type": "application/json" } }),
      read: async (response) => {
        const answer = await jsonOf(response);
        return read === undefined ? answer as T : read(answer);
      },
    });
  };
}

/** Items of a {@link LongList} that are written at once. */
const PIECE = 64;

/** A list whose items are converted and written in turns: a room of 10,000 members has megabytes. */
export class LongList<T> {
  readonly #items: readonly T[];
  readonly #convert: (item: T, i: number) => unknown;

  /** @param convert Returns what is written for an item */
  constructor(items: readonly T[], convert: (item: T, i: number) => unknown) {
    this.#items = items;
    this.#convert = convert;
  }

  /** Returns the pieces of its JSON. */
  async pieces(): Promise<Uint8Array[]> {
    const json = (item: T, i: number) => JSON.stringify(this.#convert(item, i));
    const starts = Array.from(
      { length: Math.ceil(this.#items.length / PIECE) },
      (_, i) => i * PIECE,
    );
    // Bytes, because thousands of texts keep the garbage collector busy.
    const pieces = await mapInTurns(starts, (at) => {
      const items = this.#items.slice(at, at + PIECE);
      return utf8((at === 0 ? "" : ",") + items.map((item, i) => json(item, at + i)).join(","));
    }, 1);
    return [utf8("["), ...pieces, utf8("]")];
  }
}

/** Returns the JSON of an object. */
async function bodyOf(json: object): Promise<Uint8Array> {
  const isLong = (value: unknown) => value instanceof LongList;
  if (!Object.values(json).some(isLong)) return utf8(JSON.stringify(json));
  const pieces: Uint8Array[] = [];
  for (const [name, value] of Object.entries(json)) {
    const found = value instanceof LongList ? await value.pieces() : JSON.stringify(value);
    // As JSON does with undefined and functions.
    if (found === undefined) continue;
    pieces.push(
      utf8(`${pieces.length === 0 ? "{" : ","}${JSON.stringify(name)}:`),
      ...typeof found === "string" ? [utf8(found)] : found,
    );
  }
  return concat(...pieces, utf8("}"));
}

/** Ignores the response, which is empty. */
export function nothing(): void {}

/** Returns the path of a room. */
export const room = (id: unknown): string => `rooms/${encodeURIComponent(roomId("id", id))}`;
