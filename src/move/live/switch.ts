/**
 * Switches a store from its file to the bucket that holds a copy of it.
 *
 * @module
 */

import { pause } from "../../core/async/wait.ts";
import { StoreError } from "../../core/errors.ts";
import type { SwitchingBackend } from "../../core/store/switching.ts";
import type { JetStreamBackend } from "../../jetstream/backend.ts";
import { complete, settle } from "./mark.ts";
import type { Run } from "./run.ts";

/** Until when the mark must be sent, milliseconds after writes began to wait. */
const SEND_MS = 900;
/** How long writers in progress and other processes are waited for, milliseconds. */
const PATIENCE_MS = 300;

/** A switch that was made. */
export interface Switched {
  /** How long writes waited, milliseconds. */
  pause: number;
  /** Resolves when the former backend is closed. */
  closed: Promise<void>;
}

/**
 * Tries to switch: stops all writers of the file, copies the last changes and completes the mark. Before
 * that the attempt can be called off; then writers continue, and `run.reason` says why.
 *
 * @returns `null` if it was called off
 * @throws {StoreError} `conflict`: another run has taken over; `aborted`: the outcome is not known, and
 * the file stays frozen
 */
export async function trySwitch(
  run: Run,
  store: SwitchingBackend,
  target: JetStreamBackend,
): Promise<Switched | null> {
  run.attempts++;
  run.begin("switch");
  const begun = performance.now();
  const left = () => SEND_MS - (performance.now() - begun);
  try {
    let isSent = false;
    let revision: number;
    try {
      await store.hold({ patience: PATIENCE_MS });
      await run.file.freeze(run.journey, Math.min(PATIENCE_MS, left()));
      await run.last(Date.now() + left());
      // Others may write to the bucket as soon as it is complete.
      await store.hold({ reads: true });
      if (left() <= 0) {
        throw new StoreError("unavailable", `Switching took longer than ${SEND_MS} ms`);
      }
      isSent = true;
      revision = await complete(run.bucket, run.claim, run.own.position, run.entry);
    } catch (error) {
      if (!isSent) return await callOff(run, store, error);
      const found = await settleSent(run);
      if (found === null) return await callOff(run, store, error);
      revision = found;
    }
    // With the entry of the move behind it.
    target.tookOver(run.journey.generation, revision + (run.history === null ? 0 : 1));
    const closed = store.replace(target);
    return { pause: performance.now() - begun, closed };
  } finally {
    store.release();
  }
}

/** Finds out what became of a mark that was sent; `null` if it can no longer be stored. */
async function settleSent(run: Run): Promise<number | null> {
  run.begin("settle");
  const { bucket, file, journey, signal } = run;
  const found = await settle(bucket, file, journey, { signal, onTry: () => run.report() });
  if (found.moved) return found.revision;
  run.journey = found.journey;
  run.took(found.claim);
  return null;
}

async function callOff(run: Run, store: SwitchingBackend, error: unknown): Promise<null> {
  await thaw(run);
  store.release();
  const isPassing = error instanceof StoreError &&
    ["unavailable", "mismatch"].includes(error.code);
  if (!isPassing) throw error;
  run.reason = error.message;
  return null;
}

/** Lets the file's writers in again, if they were stopped. */
async function thaw(run: Run): Promise<void> {
  for (;;) {
    try {
      return await run.file.thaw(run.journey);
    } catch (error) {
      // Without room on the disk nobody can write anyway.
      if (!(error instanceof StoreError) || error.code !== "unavailable") throw error;
    }
    run.check();
    await pause(500);
  }
}
