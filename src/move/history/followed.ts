/**
 * Waits until the file of a follower has the history of its bucket.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import { compareRevisions, formatRevision, parseRevision } from "../../core/history/revision.ts";
import type { Follower } from "../../follower/types.ts";
import { lastArchived } from "../../jetstream/history/messages.ts";
import { archiveInfo } from "../../jetstream/history/archive.ts";
import type { Bucket } from "../../jetstream/log/bucket.ts";
import { wait } from "../../jetstream/log/wire.ts";
import { soon } from "../steps.ts";

/** How long it may take without progress, milliseconds. */
const PATIENCE = 30_000;
const LOOK = 50;

/**
 * Waits until a follower's file has what the archive of its bucket has now. What comes later the file takes
 * with the changes.
 *
 * @throws {StoreError} `refused`: it does not get it
 */
export async function whenRemembered(
  bucket: Bucket,
  follower: Pick<Follower, "state">,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (await archiveInfo(bucket, soon()) === null) return;
  const wanted = (await lastArchived(bucket, soon()))?.placed?.at ?? null;
  let before: string | null = null;
  for (let end = Date.now() + PATIENCE;;) {
    const { history } = follower.state();
    const revision = history?.revision ?? null;
    const at = revision === null ? null : parseRevision("revision", revision);
    if (wanted === null || at !== null && compareRevisions(at, wanted) >= 0) return;
    if (revision !== before) end = Date.now() + PATIENCE;
    before = revision;
    if (Date.now() > end) {
      const why = history?.problem ?? null;
      throw new StoreError(
        "refused",
        `Moving bucket ${bucket.name} to a file: the follower has its history up to ` +
          `${revision ?? "no entry"}, not ${formatRevision(wanted)}${
            why === null ? "" : `: ${why}`
          }`,
        { field: "history", hint: "wait until it has all, or leave the history out" },
      );
    }
    await wait(LOOK, signal);
  }
}
