/**
 * Settles a file whose control plane was being switched when the server was killed.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { Bucket } from "../../../../src/jetstream/log/bucket.ts";
import { settleJourney } from "../../../../src/move/live/settle.ts";
import { roleOf } from "../../../../src/sqlite/file/role.ts";
import type { Bus } from "../../bus.ts";
import { showWaiting } from "../../node/page.ts";
import type { Surroundings } from "../../parts.ts";

/** Whether a file's control plane was being switched. */
export function isFrozen(db: string): boolean {
  return existsSync(db) && roleOf(db).frozenAt !== null;
}

/** Finds out, without a limit, where the control plane is; returns whether it is in the file. */
export async function settleHere(
  around: Surroundings,
  { connection }: Bus,
  bucket: string,
): Promise<boolean> {
  const { settings, log, signal } = around;
  const why = `finding out whether the control plane has moved to bucket ${bucket}`;
  const page = await showWaiting(around, () => why);
  log("info", "grow.settle", { bucket, message: why });
  try {
    const outcome = await settleJourney(settings.db, new Bucket(connection, bucket), { signal });
    log("info", "grow.settled", { outcome });
    return outcome === "primary";
  } finally {
    await page.close();
  }
}
