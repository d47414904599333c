/**
 * Settles a file whose control plane was being switched when the server was killed.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { pause } from "../../../../src/core/async/wait.ts";
import { isStoreError, StoreError } from "../../../../src/core/errors.ts";
import { Bucket } from "../../../../src/jetstream/log/bucket.ts";
import { callOffGrow, type Outcome, settleJourney } from "../../../../src/move/live/settle.ts";
import { roleOf } from "../../../../src/sqlite/file/role.ts";
import { answerJourney, type JourneyRequest, type JourneyState } from "../../../cluster/journey.ts";
import { readNode } from "../../../settings/node.ts";
import type { Bus } from "../../bus.ts";
import type { Surroundings } from "../../parts.ts";
import { pausedState } from "../journeys.ts";

/** Milliseconds between two looks at a bucket that is not the one of the move. */
const LOOK_MS = 1_000;
const LOST =
  "if its bucket is gone for good, use membershipd grow --call-off --force: the file serves as it " +
  "was at the switch, and later changes such as revocations are lost; a second copy on another node may be newer";

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
  const { settings: { db }, log, signal, page } = around;
  const what = `finding out whether the control plane has moved to bucket ${bucket}`;
  let why = what;
  await page.show(why);
  log("info", "grow.settle", { bucket, message: what });
  let forced: Promise<boolean> | null = null;
  const answer = async ({ op, force }: JourneyRequest): Promise<JourneyState> => {
    const now = { serves: "file" as const, ...pausedState("grow", `The server is ${why}`, LOST) };
    if (op === "status") return now;
    if (op !== "call-off" || force !== true) {
      throw new StoreError("refused", now.error!.message, { hint: LOST });
    }
    forced ??= callOffGrow({ db, nats: { connection, bucket }, signal, force });
    await forced.finally(() => forced = null);
    return { ...now, state: "called-off", error: null };
  };
  const silence = answerJourney(connection, async () => (await readNode(db))?.name ?? null, answer);
  try {
    const outcome = await settle(db, new Bucket(connection, bucket), signal, ({ message }) => {
      const now = `${what}: ${message}`;
      if (now !== why) log("warn", "grow.settle", { bucket, message: now });
      why = now;
      void page.show(why);
    });
    log("info", "grow.settled", { outcome });
    return outcome === "primary";
  } finally {
    silence();
  }
}

/** Settles it. While the bucket is another one than that of the move, an operator may call it off beside this. */
async function settle(
  db: string,
  bucket: Bucket,
  signal: AbortSignal,
  onFailure: (error: StoreError) => void,
): Promise<Outcome> {
  for (;;) {
    try {
      return await settleJourney(db, bucket, { signal, onFailure });
    } catch (error) {
      if (!isStoreError(error, "not_found") && !isStoreError(error, "conflict")) throw error;
      onFailure(error);
    }
    await pause(LOOK_MS, signal);
  }
}
