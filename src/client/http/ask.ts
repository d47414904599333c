/**
 * Requests and answers in JSON.
 *
 * @module
 */

import { roomId } from "../../core/validate.ts";
import type { Call, Caller } from "./caller.ts";
import { jsonOf } from "./failure.ts";

/** What a request may have. */
interface Asked<T> {
  query?: object | undefined;
  json?: object;
  signed?: false;
  /** Reads the answer. Default: it is the result. */
  read?: (answer: unknown) => T;
}

/** Asks for a path below `/v1/`. */
export type Ask = <T>(method: Call<T>["method"], path: string, more?: Asked<T>) => Promise<T>;

/** Makes what asks. */
export function askOf(caller: Pick<Caller, "call">): Ask {
  return <T>(method: Call<T>["method"], path: string, more: Asked<T> = {}) => {
    const { query, json, read, ...how } = more;
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

/** Reads an answer that is empty. */
export function nothing(): void {}

/** The path of a room. */
export const room = (id: unknown): string => `rooms/${encodeURIComponent(roomId("id", id))}`;
