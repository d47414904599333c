/**
 * The follower's file for this process alone: it cannot become the primary while another program has it
 * open.
 *
 * @module
 */

import { isStoreError, StoreError } from "../../../core/errors.ts";
import type { SwitchingBackend } from "../../../core/store/switching.ts";
import type { FileFollower } from "../../../follower/follower.ts";
import { closeReaders } from "../../../follower/open.ts";
import type { JetStreamBackend } from "../../../jetstream/backend.ts";
import { wait } from "../../../jetstream/log/wire.ts";
import { causeOf, isBusy } from "../../../sqlite/file/errors.ts";

/** How often the file is tried before a move begins: other programs have 3 seconds to close it. */
const TRIES = 30;
/** Pause before the file is tried again, milliseconds. */
const AGAIN = 100;

/** What uses the file. */
export interface Users {
  /** The switch of the store's backend. */
  to: SwitchingBackend;
  /** The backend in the bucket. */
  backend: JetStreamBackend;
  /** The follower on this node. */
  follower: FileFollower;
}

/** Says how to find the programs that have a file open. */
export function usersOf(path: string): string {
  return `fuser -v ${path} lists the programs that have it open, such as sqlite3 or a backup`;
}

/**
 * Locks all others out of the file. The store's reads are held from then on, because searches and the
 * history read it.
 *
 * @returns Whether no other program has it open
 */
export async function holdAlone({ to, backend, follower }: Users): Promise<boolean> {
  await to.hold({ reads: true });
  await closeReaders(backend);
  return await follower.holdAlone();
}

/**
 * Requires that no other program has the file open.
 *
 * @param exact Waits until the file is exact: while it is being written it cannot be tried
 * @throws {StoreError} `refused`: one has; `aborted`
 */
export async function requireAlone(
  users: Users,
  exact: () => Promise<unknown>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { to, follower } = users;
  for (let tries = 1;; tries++) {
    await exact();
    try {
      if (await holdAlone(users)) return;
    } finally {
      await follower.share();
      to.release();
    }
    if (tries >= TRIES) {
      throw new StoreError(
        "refused",
        `Moving to a file: another program has the follower ${follower.path} open`,
        { field: "follower", hint: `close it there and try again; ${usersOf(follower.path)}` },
      );
    }
    await wait(AGAIN, signal);
  }
}

/** Describes why the control plane that has left the bucket is not in its file yet, and what to do. */
export function reasonOf(error: StoreError): string {
  const { message, hint } = error;
  const next = isBusy(causeOf(error))
    ? "close it there; fuser -v with its path lists the programs that have it open"
    : hint;
  return ["The control plane has left the bucket", message, next].filter(Boolean).join("; ");
}

/** Whether trying again may help: what is wrong is around the file, not in it. */
export function mayPass(error: unknown): error is StoreError {
  return isStoreError(error) && ["unavailable", "refused", "not_found"].includes(error.code);
}
