/**
 * Requests and responses in JSON.
 *
 * @module
 */

import { mapInTurns, nextTurn } from "../../core/async/in_turns.ts";
import { utf8 } from "../../keys/bytes.ts";
import { roomId } from "../../core/validate.ts";
import type { Call } from "./call.ts";
import type { Caller } from "./caller.ts";
import { jsonOf } from "./failure.ts";

interface AskOptions<T> {
  query?: object | undefined;
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
    const body = json && utf8(await textOf(json));
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

/** A longer list is written in turns: a room of 10,000 members has megabytes. */
const MANY = 1000;

/** Returns the JSON of an object. */
async function textOf(json: object): Promise<string> {
  const isLong = (value: unknown) => Array.isArray(value) && value.length > MANY;
  if (!Object.values(json).some(isLong)) return JSON.stringify(json);
  const fields: string[] = [];
  for (const [name, value] of Object.entries(json)) {
    const text = isLong(value)
      ? `[${(await mapInTurns(value, (item) => JSON.stringify(item))).join(",")}]`
      : JSON.stringify(value);
    if (text !== undefined) fields.push(`${JSON.stringify(name)}:${text}`);
  }
  await nextTurn();
  return `{${fields.join(",")}}`;
}

/** Ignores the response, which is empty. */
export function nothing(): void {}

/** Returns the path of a room. */
export const room = (id: unknown): string => `rooms/${encodeURIComponent(roomId("id", id))}`;
