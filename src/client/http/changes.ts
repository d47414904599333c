/**
 * Following the history over HTTP.
 *
 * @module
 */

import { pause } from "../../core/async/wait.ts";
import { isStoreError } from "../../core/errors.ts";
import type { HistoryEntry } from "../../core/history/entry.ts";
import type { ChangesRequest, Client } from "../types.ts";
import { isUnanswered, wasRefused } from "./call.ts";
import { answerOf } from "./failure.ts";

/** How long the server holds a request, seconds. */
const WAIT_S = 25;
/** Entries of a request. */
const LIMIT = 1_000;
/** Shortest and longest wait before a retry, milliseconds. */
const RETRY = { first: 200, most: 10_000 };

/** Iterates over changes as they are made: see {@link Client.follow}. */
export async function* changesFrom(
  read: Client["changes"],
  { after, signal }: { after?: string | null; signal?: AbortSignal } = {},
): AsyncGenerator<HistoryEntry, void, undefined> {
  let wait = RETRY.first;
  /** Sends a request until it is answered; `null` if it was aborted. */
  async function answered(query: ChangesRequest): Promise<HistoryEntry[] | null> {
    while (!signal?.aborted) {
      try {
        const { items } = await read({ ...query, ...signal && { signal } });
        wait = RETRY.first;
        return items;
      } catch (error) {
        if (signal?.aborted) break;
        if (!isStoreError(error) || !(isUnanswered(error) || wasRefused(error))) throw error;
        const seconds = answerOf(error)?.retryAfter ?? 0;
        await pause(Math.max(wait, seconds * 1000), signal).catch(() => {});
        wait = Math.min(RETRY.most, wait * 2);
      }
    }
    return null;
  }
  let last = after;
  if (last === undefined) {
    last = (await answered({ newest: true, limit: 1 }))?.[0]?.revision ?? null;
  }
  for (;;) {
    const items = await answered({ after: last, wait: WAIT_S, limit: LIMIT });
    if (items === null) return;
    for (const it of items) {
      last = it.revision;
      yield it;
    }
  }
}
