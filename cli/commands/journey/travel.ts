/**
 * Asks the running server for a journey, and watches it across the restart of its nats-server.
 *
 * @module
 */

import { setTimeout } from "node:timers/promises";
import { orAbort } from "../../../src/core/async/wait.ts";
import { isStoreError, StoreError } from "../../../src/core/errors.ts";
import { counted } from "../../../src/core/text/counted.ts";
import {
  askJourney,
  type Direction,
  type JourneyRequest,
  type JourneyStatus,
} from "../../cluster/journey.ts";
import type { Context } from "../../command.ts";
import { actor } from "../../store/actor.ts";
import { EXIT, UsageError } from "../../terminal/failure.ts";
import { print, printable, printJson, say } from "../../terminal/output.ts";
import { Progress } from "../../terminal/progress.ts";
import type { JourneyFlags } from "./flags.ts";
import { reach, type Server } from "./reach.ts";
import { resolve as absolute } from "node:path";
import { copiesOf } from "../../../src/jetstream/cluster/copies.ts";
import { findStream } from "../../../src/jetstream/log/wire.ts";

/** Milliseconds between two looks. */
const LOOK_MS = 200;
/** How long the server may be silent: its nats-server restarts, or it starts again. Milliseconds. */
const SILENCE_MS = 30_000;

/** Runs `grow` or `shrink` with its flags. */
export async function travel(
  context: Context,
  direction: Direction,
  flags: JourneyFlags,
  more: Partial<JourneyRequest>,
): Promise<void> {
  const request = requestOf(direction, flags, more);
  await using server = await reach(context, flags);
  const ask = (request: JourneyRequest) => asking(context, server, request);
  const there = await arrived(server, request, ask);
  if (there !== null) {
    if (flags.json) return await printJson(context, { ...there, unchanged: true });
    return await print(context, printable(`nothing to do: ${await placeOf(server, there)}`));
  }
  const again = request.op === "call-off"
    ? `membershipd ${direction} --call-off`
    : lineOf(direction, server.node);
  context.resume = `the server continues; membershipd ${direction} --status shows how far it is, ` +
    `${again} watches it again`;
  let status = await ask(request);
  if (request.op !== "status") {
    using progress = new Progress(context.io, flags);
    while (status.state === "running" && !(flags.hold && status.phase === "hold")) {
      progress.show(stepOf(direction, status));
      await setTimeout(LOOK_MS, null, { signal: context.io.signal });
      status = await ask({ op: "status" });
    }
  }
  if (flags.json) await printJson(context, status);
  else await print(context, ...linesOf(status, flags.dryRun === true));
  if (status.state === "running" && status.phase === "hold") {
    await say(context, `ready: membershipd ${direction} --release makes the switch`);
  }
  conclude(context, request, status);
}

/** Which one of the flags was meant. */
function requestOf(
  direction: Direction,
  { dryRun, hold, release, callOff, status }: JourneyFlags,
  more: Partial<JourneyRequest>,
): JourneyRequest {
  const named = Object.entries({
    "--dry-run": dryRun,
    "--hold": hold,
    "--release": release,
    "--call-off": callOff,
    "--status": status,
  })
    .filter(([, given]) => given).map(([name]) => name);
  if (named.length > 1) throw new UsageError(`${named.join(" and ")} cannot be used together`);
  if (status) return { op: "status" };
  if (release) return { op: "release", direction };
  if (callOff) return { op: "call-off", direction, ...more.force ? { force: true } : {} };
  if (direction === "shrink" && more.keep === undefined) {
    throw new UsageError(
      "--keep is required: the name of this node, which keeps the control plane",
    );
  }
  return {
    op: direction,
    by: actor(),
    ...more,
    ...dryRun ? { dryRun } : {},
    ...hold ? { hold } : {},
  };
}

/** Asks until the server answers; its nats-server may be restarting. */
async function asking(
  { io: { signal } }: Context,
  { connection, node }: Server,
  request: JourneyRequest,
): Promise<JourneyStatus> {
  for (const deadline = Date.now() + SILENCE_MS;;) {
    signal.throwIfAborted();
    try {
      return await orAbort(askJourney(connection, node, request), signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!isStoreError(error) || error.field !== "journey" || Date.now() > deadline) throw error;
    }
    await setTimeout(LOOK_MS, null, { signal });
  }
}

const UNITS = { blobs: "blobs", replicas: "copies", nats: "nodes" } as Record<string, string>;

function stepOf(direction: Direction, { phase, done, total, lag, retry }: JourneyStatus) {
  const name = phase ?? "begin";
  if (name === "hold") {
    return { phase: `hold (until membershipd ${direction} --release)`, done: 0, total: 0 };
  }
  const isCopying = ["copy", "verify", "switch"].includes(name);
  const notes = [
    ...isCopying && lag ? [`${counted(lag, "change")} behind`] : [],
    ...retry === null ? [] : [`again: ${printable(retry)}`],
  ];
  return {
    phase: name,
    done,
    // Without a number there is nothing to count.
    total: total === null && done === 0 ? 0 : total,
    unit: UNITS[name] ?? "records",
    ...notes.length === 0 ? {} : { note: notes.join("; ") },
  };
}

function linesOf(status: JourneyStatus, dryRun: boolean): string[] {
  const { node, serves, direction, state, phase, done, total, lag, pause, retry, error } = status;
  const isCounting = phase !== "hold" && total !== null && total > 0;
  const of = isCounting ? `, ${done} of ${total}` : "";
  const behind = lag === null ? "" : `, ${counted(lag, "change")} behind`;
  const lines = [
    ...dryRun ? status.findings : [],
    ...dryRun && error === null ? [`${direction} is possible; nothing was changed`] : [],
    ...direction === null || dryRun
      ? []
      : [`${direction}: ${state}${state === "running" ? ` (${phase}${of}${behind})` : ""}`],
    ...pause === null ? [] : [`writes waited ${pause} ms at the switch`],
    ...retry === null || state === "done" ? [] : [`it tries again: ${retry}`],
    ...error === null ? [] : [error.message, ...error.hint === undefined ? [] : [error.hint]],
    `${node} serves from ${serves === "file" ? "its file" : "the bucket of the cluster"}`,
  ];
  return lines.map(printable);
}

/** Sets the exit code: a journey that was asked for and did not arrive has failed. */
function conclude(
  context: Context,
  { op, dryRun }: JourneyRequest,
  { state }: JourneyStatus,
): void {
  if (op === "status" || (op === "call-off" && state === "called-off")) return;
  const isWell = state === "running" || state === "done" && op !== "call-off" ||
    dryRun && state === "none";
  if (!isWell) context.exitCode = EXIT.failed;
}

/** How long the leader of the bucket may take to name its copies, milliseconds. */
const COPIES_MS = 3_000;

/**
 * Returns the status of a server for which nothing is left to do; else null.
 *
 * @throws {StoreError} refused: a move was begun and is not finished
 */
async function arrived(
  server: Server,
  { op, keep }: JourneyRequest,
  ask: (request: JourneyRequest) => Promise<JourneyStatus>,
): Promise<JourneyStatus | null> {
  if (op !== "grow" && op !== "shrink") return null;
  // The server refuses a name that is not its own.
  if (op === "shrink" && keep !== server.node) return null;
  const status = await ask({ op: "status" }).catch((error) => {
    // It serves nothing, and says why when it is asked to move.
    if (isStoreError(error, "refused")) return null;
    throw error;
  });
  if (status === null || status.serves !== (op === "grow" ? "bucket" : "file")) return null;
  const { state, phase, direction, error } = status;
  if (state === "running") return null;
  if (state !== "paused" && (state !== "failed" || phase === "preflight")) return status;
  throw new StoreError(
    "refused",
    `A ${direction} was begun and is not finished: ${error?.message}`,
    {
      hint: direction === op
        ? "restart membershipd: its start does what is left"
        : `continue it with ${lineOf(direction!, server.node)}, or call it off with ` +
          `membershipd ${direction} --call-off`,
    },
  );
}

/** The command that begins, watches and continues a move. */
function lineOf(direction: Direction, node: string): string {
  return `membershipd ${direction}${direction === "shrink" ? ` --keep ${node}` : ""}`;
}

/** Says where the control plane is. */
async function placeOf(
  { connection, settings }: Server,
  { node, serves }: JourneyStatus,
): Promise<string> {
  if (serves === "file") return `${node} serves from its file ${absolute(settings.db)}`;
  const stream = `KV_${settings.bucket ?? "UNIBUS"}`;
  const info = await findStream(connection, stream, Date.now() + COPIES_MS).catch(() => null);
  const names = info === null ? [] : copiesOf(info).map((it) => it.node).sort();
  const copies = names.length === 0 ? "" : `, with copies on ${names.join(", ")}`;
  return `${node} serves from the cluster${copies}`;
}
