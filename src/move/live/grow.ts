/**
 * Moves a control plane from a SQLite file to a bucket while it serves.
 *
 * @module
 */

import { pause } from "../../core/async/wait.ts";
import { inspectRecords } from "../../core/checks/integrity.ts";
import { StoreError } from "../../core/errors.ts";
import type { Store } from "../../core/store.ts";
import { switchOf } from "../../core/store/switching.ts";
import { JetStreamBackend } from "../../jetstream/backend.ts";
import { markFilled, readAdminIndex } from "../../jetstream/cache/admins.ts";
import { guardOf } from "../../jetstream/log/marker.ts";
import { adminKey } from "../../jetstream/records/keys.ts";
import { withoutLogins } from "../../nats/connection/servers.ts";
import { SqliteBackend } from "../../sqlite/backend.ts";
import { JourneyFile } from "../../sqlite/file/journey/file.ts";
import { snapshotOf } from "../../sqlite/file/journey/snapshot.ts";
import type { SnapshotSummary } from "../../snapshot/mod.ts";
import { digestsOf, refuseAborted, refuseInvalid, soon } from "../steps.ts";
import { ArchiveCopy } from "../history/to_archive.ts";
import { copy, verify } from "./copy.ts";
import { claimTarget, judgeTarget } from "./mark.ts";
import { Run } from "./run.ts";
import { markCalledOff, settleFile } from "./settle.ts";
import { type Switched, trySwitch } from "./switch.ts";
import type { GrowOptions, GrowReport } from "./types.ts";

/** Time limit without progress of reading the index of admins, milliseconds. */
const PATIENCE_MS = 30_000;
/** How often changes are copied while the switch waits for something, milliseconds. */
const FOLLOW_MS = 200;
/** The pauses between attempts to switch, milliseconds. */
const AGAIN = { first: 500, longest: 30_000 };

/** Stores that are being moved by this process. */
const growing = new WeakSet<Store>();

/**
 * Moves the control plane of an open store from its SQLite file to a JetStream bucket while the store
 * serves. Changes, also those of other processes, are noted in their own transactions and copied until few
 * are left. Then all writers of the file wait for less than a second, the last changes are copied, and the
 * store continues on the bucket. Reads and authorization are answered throughout.
 *
 * Before the switch the move can be interrupted at any time, also by a kill; call this again to continue.
 * Another process that has the file open is refused once it has moved.
 *
 * @param store A store opened by `openSqlite`
 * @param options The bucket, and how to move
 * @returns A report
 * @throws {StoreError} `refused`: records are invalid (`problems` lists them), the bucket has other
 * contents, or the file has moved or is a copy; `conflict`: another move of this file is running;
 * `mismatch`: the bucket differs from the file; `unavailable`; `aborted`; `invalid`
 *
 * @example
 * ```ts ignore
 * import { growStore, openJetStream, openSqlite } from "@unibus/membership";
 *
 * await using store = openSqlite("./local_files/unibus.db");
 * await using target = await openJetStream({
 *   servers: "nats://127.0.0.1:4222",
 *   allowInProgress: true,
 * });
 * const { pause } = await growStore(store, { target });
 * console.log(`writes waited ${pause} ms`, store.backend);
 * ```
 */
export async function growStore(store: Store, options: GrowOptions): Promise<GrowReport> {
  const { pace = 0.5 } = options;
  if (!(pace > 0 && pace <= 1)) {
    throw new StoreError("invalid", `pace must be above 0 and at most 1, found ${pace}`, {
      field: "pace",
    });
  }
  if (growing.has(store)) {
    throw new StoreError("conflict", "Moving the store: a move of it is already running");
  }
  growing.add(store);
  try {
    return await grow(store, options);
  } finally {
    growing.delete(store);
  }
}

async function grow(store: Store, options: GrowOptions): Promise<GrowReport> {
  const begun = performance.now();
  const from = switchOf(store);
  const to = switchOf(options.target);
  const path = fileOf(from.current);
  const target = to.current;
  if (!(target instanceof JetStreamBackend)) {
    throw new StoreError("invalid", "target must be a store in JetStream", { field: "target" });
  }
  const { bucket } = target;
  const { signal } = options;
  using file = new JourneyFile(path);
  if (file.journey !== null && file.role.frozenAt !== null) {
    await settleFile(file, bucket, { signal });
  }
  const { generation } = file.role;
  const { journey: before, storeId, abandoned } = file;
  await judgeTarget(bucket, { storeId, journey: before, abandoned, generation }, signal);
  const counts = await inspect(path, signal);
  const report: GrowReport = {
    version: 1,
    dryRun: options.dryRun === true,
    db: path,
    bucket: bucket.name,
    journey: before?.id ?? null,
    generation: generation + 1,
    counts,
    digests: null,
    written: 0,
    history: null,
    attempts: 0,
    pause: 0,
    noted: false,
    seconds: (performance.now() - begun) / 1000,
  };
  if (report.dryRun) return report;
  const servers = withoutLogins(bucket.nc.getServer());
  // Before the file forgets it.
  if (abandoned !== null) await markCalledOff(bucket, abandoned);
  const journey = await file.begin({ bucket: bucket.name, servers });
  const claim = await claimTarget(bucket, { storeId, journey, generation }, signal);
  // While nothing is there: what is copied then reaches its cache bit by bit. Loaded at the end, all at
  // once, it keeps this process from answering for a second.
  target.warm();
  const total = Object.values(counts).reduce((a, b) => a + b);
  const { names } = await readAdminIndex(bucket, claim.revision, PATIENCE_MS);
  const admins = [...names].map(adminKey);
  const history = options.history === false ? null : await ArchiveCopy.begin(bucket, file.history, {
    mark: claim.revision,
    isOurs: true,
    replace: false,
    signal,
  });
  const run = new Run({ bucket, file, journey, claim, total, admins, history }, options);
  await markFilled(bucket, claim.marker, guardOf(claim.revision).guard, soon());
  await copy(run);
  const summary = await verify(run);
  await follow(run, options.hold?.());
  const switched = await switchAgainAndAgain(
    run,
    options,
    target,
    () => trySwitch(run, from, target),
  );
  to.take();
  report.noted = await note(run, servers);
  await switched.closed;
  run.begin("done");
  return {
    ...report,
    journey: journey.id,
    ...brought(summary),
    written: run.written,
    history: history?.written ?? null,
    attempts: run.attempts,
    pause: switched.pause,
    seconds: (performance.now() - begun) / 1000,
  };
}

/** The path of a file that is open for writing, and in which others can write too. */
function fileOf(backend: unknown): string {
  if (backend instanceof SqliteBackend && backend.sharedPath !== null) return backend.sharedPath;
  throw new StoreError(
    "invalid",
    "store must be in a SQLite file that is open for writing and not locked exclusively",
    { field: "store" },
  );
}

/** Checks all records of a file; returns their numbers. */
async function inspect(path: string, signal: AbortSignal | undefined) {
  using file = snapshotOf(path);
  const { problems } = await inspectRecords(file.stored, () => refuseAborted(signal));
  refuseInvalid(problems, path);
  return file.counts;
}

function brought(summary: SnapshotSummary): Pick<GrowReport, "counts" | "digests"> {
  return { counts: summary.counts, digests: digestsOf(summary) };
}

/** Copies changes until `event` has happened. */
async function follow(run: Run, event: Promise<unknown> | undefined): Promise<void> {
  run.begin("ready");
  let isOver = event === undefined;
  const over = () => void (isOver = true);
  event?.then(over, over);
  while (!isOver) {
    await run.catchUp();
    if (await run.isForeign()) {
      await verify(run);
      run.begin("ready");
    }
    run.report();
    await Promise.race([pause(FOLLOW_MS), event?.catch(() => {})]);
  }
  await event;
  await run.catchUp();
}

async function switchAgainAndAgain(
  run: Run,
  { ready }: GrowOptions,
  target: JetStreamBackend,
  attempt: () => Promise<Switched | null>,
): Promise<Switched> {
  const warm = async () => {
    for (;;) {
      const { warm, fresh } = target.warm();
      if (warm && fresh) return;
      await pause(20, run.signal).catch(() => run.check());
    }
  };
  for (let wait = AGAIN.first;; wait = Math.min(2 * wait, AGAIN.longest)) {
    await follow(run, Promise.all([ready?.(), warm()]));
    const switched = await attempt();
    if (switched !== null) return switched;
    await follow(run, pause(wait, run.signal).catch(() => run.check()));
  }
}

/** Records in the file where the control plane went; returns whether that could be written. */
async function note({ file, journey, bucket }: Run, servers: string[]): Promise<boolean> {
  try {
    const at = new Date().toISOString();
    await file.setMoved(journey, { bucket: bucket.name, servers, at });
    return true;
  } catch {
    // The file stays frozen, and the next start finds the completed mark.
    return false;
  }
}
