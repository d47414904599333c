/**
 * `blobs show|delete`: a single blob.
 *
 * @module
 */

import { existsSync } from "node:fs";
import type { NatsConnection } from "@nats-io/transport-node";
import type { BlobStore } from "../../../src/blobs/mod.ts";
import { noBlob } from "../../../src/blobs/holders.ts";
import { StoreError } from "../../../src/core/errors.ts";
import {
  adding,
  command,
  type CommandUnknownOpts,
  type Context,
  type NatsFlags,
  withJson,
  withNats,
} from "../../command.ts";
import { natsTarget } from "../../store/open.ts";
import { fields, print, printJson } from "../../terminal/output.ts";

/** Default directory of the blobs. */
export const DEFAULT_DIR = "./local_files/blobs";

/** Flags that name a place of blobs. */
export type PlaceFlags = NatsFlags & { storeDir?: string };

/** Creates `blobs show`. */
export function showBlob(context: Context): CommandUnknownOpts {
  return withJson(placed(
    command(context, "show", "Show a blob's size and who uploaded it", [
      "membershipd blobs show ID",
      "membershipd blobs show ID --nats-url nats://127.0.0.1:4250 --json | jq .owners",
    ]).argument("<id>", "the blob's SHA-256"),
  )).action(async (id, flags) => {
    await withBlobs(context, flags, async (blobs) => {
      const info = await blobs.stat(id.toLowerCase());
      const holders = info && await blobs.holders(info.id);
      if (info === null || holders === null) throw noBlob();
      if (flags.json) return await printJson(context, { ...info, ...holders });
      const { owners, unowned } = holders;
      const others = unowned ? ["unknown user"] : [];
      await print(
        context,
        ...fields({ ...info, "uploaded by": [...owners, ...others].join(", ") }),
      );
    });
  });
}

/** Creates `blobs delete`. */
export function deleteBlob(context: Context): CommandUnknownOpts {
  return withJson(placed(
    command(
      context,
      "delete",
      "Delete a blob of any user. Users delete their own with DELETE /v1/blobs/{id} or the client's " +
        "deleteBlob()",
      [
        "membershipd blobs delete ID",
        "membershipd blobs delete ID --nats-url nats://127.0.0.1:4250 --service-keys keys.json",
      ],
    ).argument("<id>", "the blob's SHA-256"),
  )).action(async (given, flags) => {
    await withBlobs(context, flags, async (blobs) => {
      const id = given.toLowerCase();
      await blobs.delete(id);
      if (flags.json) return await printJson(context, { id, deleted: true });
      await print(context, `deleted blob ${id}`);
    });
  });
}

/** Opens the blobs of a directory, or of a bucket with `--nats-url`. */
export async function withBlobs(
  context: Context,
  flags: PlaceFlags,
  work: (blobs: BlobStore) => Promise<void>,
): Promise<void> {
  const { storeDir = DEFAULT_DIR, natsUrl, bucket = "UNIBUS" } = flags;
  const { openDiskBlobs, openObjectBlobs } = await import("../../../src/blobs/mod.ts");
  await using stack = new AsyncDisposableStack();
  if (natsUrl === undefined) {
    requireDirectory(storeDir);
    return await work(stack.use(await openDiskBlobs(storeDir)));
  }
  const { connectNats } = await import("../../../src/nats/connection/connect.ts");
  const connection = await connectNats(await natsTarget(context, { ...flags, natsUrl }));
  stack.defer(() => connection.close());
  const { signal } = context.io;
  await requireObjects(connection, bucket, signal);
  await work(stack.use(await openObjectBlobs({ connection, bucket: `${bucket}_BLOBS`, signal })));
}

/** Refuses a directory that does not exist: opening it would create it. */
export function requireDirectory(directory: string): void {
  if (existsSync(directory)) return;
  throw new StoreError("not_found", `Directory ${directory} does not exist`, { field: "storeDir" });
}

/** Refuses a bucket without blobs: opening them would create them. */
export async function requireObjects(
  connection: NatsConnection,
  bucket: string,
  signal: AbortSignal,
): Promise<void> {
  const { findStream } = await import("../../../src/jetstream/log/wire.ts");
  const name = `${bucket}_BLOBS`;
  if (await findStream(connection, `OBJ_${name}`, Date.now() + 10_000, signal) !== null) return;
  throw new StoreError("not_found", `No bucket ${name} on this server`, { field: "bucket" });
}

/** Adds the flags of {@link PlaceFlags}. */
export const placed = adding<PlaceFlags>((parent) =>
  withNats(
    parent.option("--store-dir <directory>", `directory of the blobs (default: ${DEFAULT_DIR})`),
  )
);
