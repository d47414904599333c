/**
 * The second copy of a control plane in JetStream that a server keeps, and how it is shown.
 *
 * @module
 */

import type { HealthCheck } from "../../../src/core/model.ts";
import type { StoreError } from "../../../src/core/errors.ts";
import type { FollowerStatus } from "../../../src/core/operations.ts";
import type { Store } from "../../../src/core/store.ts";
import type { Follower, FollowerState } from "../../../src/follower/types.ts";
import type { ControlPlane } from "../../../src/http/options.ts";
import type { OpenJetStreamOptions } from "../../../src/follower/open.ts";
import type { FollowerPresence } from "../../cluster/presence.ts";
import type { Log } from "../../terminal/log.ts";
import { describeFollower } from "../../store/follower.ts";
import { makeFolder } from "../../store/folder.ts";

/** A store and the follower beside it, if it has a file. */
export interface Beside {
  /** The store. */
  store: Store;
  /** Its follower. */
  follower: Follower | null;
}

/**
 * Opens the store, with a follower beside it if it has a file. After an alarm the store is shut: the
 * server runs and says why, but refuses every client until a repair.
 */
export async function openBeside(
  options: OpenJetStreamOptions,
  file: string | null,
  log: Log,
): Promise<Beside> {
  const { openFollowed, openJetStream } = await import("../../../src/follower/open.ts");
  if (file === null) return { store: await openJetStream(options), follower: null };
  await makeFolder(file);
  return await openFollowed({
    ...options,
    follower: file,
    openShut: true,
    onAlarm: (alarm) => tellAlarm(alarm, file, log),
    onDegraded: (degraded) => tellDegraded(degraded, file, log),
    onRenewed: () =>
      log("info", "follower.renewed", { message: "Clients are admitted again", follower: file }),
  });
}

/**
 * Opens the bucket that a control plane is to move into from its file. A follower of a former stream, such as
 * that of a cluster whose other nodes were lost, is set aside: it has nothing that the file does not have.
 */
export async function openAhead(
  options: OpenJetStreamOptions,
  file: string | null,
  log: Log,
): Promise<Beside> {
  let isOpen = false;
  const first = await openBeside(options, file, (level, event, details) => {
    if (isOpen || event !== "follower.alarm") log(level, event, details);
  });
  isOpen = true;
  const alarm = first.follower?.state().alarm ?? null;
  if (alarm === null) return first;
  await first.store.close();
  const { setAside } = await import("../../../src/follower/repair/accept.ts");
  log("info", "follower.aside", { message: alarm.message, saved: setAside(file!) });
  return await openBeside(options, file, log);
}

function tellAlarm({ message, hint }: StoreError, file: string, log: Log): void {
  log("error", "follower.alarm", {
    message,
    hint: `no client is admitted; ${hint}`,
    follower: file,
  });
}

function tellDegraded(degraded: StoreError | null, file: string, log: Log): void {
  if (degraded === null) {
    return log("info", "follower.sound", { message: "All records are valid", follower: file });
  }
  const { message, hint } = degraded;
  log("error", "follower.degraded", { message, ...hint && { hint }, follower: file });
}

/** Checks a follower: it is not ok only after an alarm, because it stands beside the requests. */
export function checkFollower(follower: Follower): HealthCheck {
  const state = follower.state();
  const { alarm, degraded, failure } = state;
  if (alarm !== null) return { name: "follower", ok: false, detail: withHint(alarm)! };
  const stopped = failure === null ? "" : `; stopped: ${failure.message}`;
  return {
    name: "follower",
    ok: true,
    ...degraded !== null && { degraded: true },
    detail: withHint(degraded) ?? describeFollower(state) + stopped,
  };
}

/** Returns the status of a follower for `/v1/status`. */
export function statusOf(follower: Follower): FollowerStatus {
  const { bucket: _, alarm, degraded, failure, ...state } = follower.state();
  return {
    ...state,
    alarm: withHint(alarm),
    degraded: withHint(degraded),
    failure: failure?.message ?? null,
  };
}

function withHint(error: StoreError | null): string | null {
  return error && [error.message, error.hint].filter((it) => it !== undefined).join("; ");
}

/** Adds the numbers of the follower to `/metrics`; they are NaN while there is none. */
export function measureFollower(plane: ControlPlane, follower: () => Follower | null): void {
  const gauge = (name: string, help: string, read: (state: FollowerState) => number) =>
    plane.gauge(`unibus_follower_${name}`, help, () => {
      const state = follower()?.state();
      return state === undefined ? NaN : read(state);
    });
  gauge("position", "Sequence of the stream that the second copy ends at", (it) => it.position);
  gauge("lag", "Messages that the second copy is behind", (it) => it.lag ?? 0);
  gauge("exact", "1 if the second copy lacks nothing up to its position", (it) => +it.exact);
  gauge("alarm", "1 if the stream lost or changed something", (it) => +(it.alarm !== null));
  gauge(
    "degraded",
    "1 if the follower's file is damaged, or a record is invalid",
    (it) => +(it.degraded !== null),
  );
  gauge("quarantined", "Invalid records in the bucket", (it) => it.quarantined);
  gauge(
    "history_lag",
    "Entries of the history that the second copy is behind",
    (it) => it.history?.lag ?? 0,
  );
}

/** Returns what `cluster status` shows of a follower. */
export function presenceOf(follower: Follower | null): FollowerPresence | null {
  if (follower === null) return null;
  const { position, lag, exact, alarm, degraded, history = null } = statusOf(follower);
  return { position, lag, exact, alarm, degraded, history };
}
