/**
 * Requests and responses in JSON.
 *
 * @module
 */

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
  return <T>(method: Call<T>["method"], path: string, options: AskOptions<T> = {}) => {
    const { query, json, read, ...how } = options;
    return caller.call<T>({
      method,
      path: `/v1/${path}`,
      ...how,
      ...(query && { query: query as Record<string, unknown> }),
      ...(json && {
        body: new TextEncoder().encode(JSON.stringify(json)),
        headers: { "content-type": "application/json" },
      }),
      read: async (response) => {
        const answer = await jsonOf(response);
        return read === undefined ? answer as T : read(answer);
      },
    });
  };
}

/** Ignores the response, which is empty. */
export function nothing(): void {}

/** Returns the path of a room. */
export const room = (id: unknown): string => `rooms/${encodeURIComponent(roomId("id", id))}`;
