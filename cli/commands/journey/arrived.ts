/**
 * Whether the control plane is already where `grow` or `shrink` is to take it.
 *
 * @module
 */

import { resolve as absolute } from "node:path";
import { isStoreError, StoreError } from "../../../src/core/errors.ts";
import { copiesOf, findStream } from "../../../src/jetstream/cluster/copies.ts";
import type { JourneyRequest, JourneyStatus } from "../../cluster/journey.ts";
import type { Server } from "./reach.ts";

/** How long the leader of the bucket may take to name its copies, milliseconds. */
const COPIES_MS = 3_000;

/**
 * Returns the status of a server for which nothing is left to do; else null.
 *
 * @throws {StoreError} refused: a move was begun and is not finished
 */
export async function arrived(
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
        : `continue it with membershipd ${direction}, or call it off with membershipd ${direction} ` +
          "--call-off",
    },
  );
}

/** Says where the control plane is. */
export async function placeOf(
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
