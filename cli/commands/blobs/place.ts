/**
 * `blobs show|delete`: one blob, where the blobs are kept.
 *
 * @module
 */

import { existsSync } from "node:fs";
import type { BlobStore } from "../../../src/blobs/mod.ts";
import { StoreError } from "../../../src/core/errors.ts";
import {
  command,
  type CommandUnknownOpts,
  type Context,
  type NatsFlags,
  withJson,
  withNats,
} from "../../command.ts";
import { natsTarget } from "../../store/open.ts";
import { fields, print, printJson } from "../../terminal/output.ts";

/** Where the blobs of a directory are by default. */
export const DEFAULT_DIR = "./local_files/blobs";

type PlaceFlags = NatsFlags & { storeDir?: string };

/** Makes `blobs show`. */
export function showBlob(context: Context): CommandUnknownOpts {
  return withJson(placed(
    command(context, "show", "Show a blob's size and who put it", [
      "membershipd blobs show ID",
      "membershipd blobs show ID --nats-url nats://127.0.0.1:4250 --json | jq .owners",
    ]).argument("<id>", "the blob's SHA-256"),
  )).action(async (id, flags) => {
    await withBlobs(context, flags, async (blobs) => {
      const info = await blobs.stat(id.toLowerCase());
      const holders = info && await blobs.holders(info.id);
      if (info === null || holders === null) throw missing(id);
      if (flags.json) return await printJson(context, { ...info, ...holders });
      const { owners, unowned } = holders;
      const others = unowned ? ["somebody who was not named"] : [];
      await print(context, ...fields({ ...info, "put by": [...owners, ...others].join(", ") }));
    });
  });
}

/** Makes `blobs delete`. */
export function deleteBlob(context: Context): CommandUnknownOpts {
  return withJson(placed(
    command(
      context,
      "delete",
      "Delete a blob, whoever put it. For one's own: DELETE /v1/blobs/{id}, deleteBlob() of the client",
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
      await print(context, `Deleted blob ${id}`);
    });
  });
}

/** The blobs of a directory, or of a bucket where `--nats-url` is given. */
async function withBlobs(
  context: Context,
  flags: PlaceFlags,
  work: (blobs: BlobStore) => Promise<void>,
): Promise<void> {
  const { storeDir = DEFAULT_DIR, natsUrl, bucket = "UNIBUS" } = flags;
  const { openDiskBlobs, openObjectBlobs } = await import("../../../src/blobs/mod.ts");
  await using stack = new AsyncDisposableStack();
  if (natsUrl === undefined) {
    if (!existsSync(storeDir)) {
      throw new StoreError("not_found", `No directory ${storeDir}`, { field: "storeDir" });
    }
    return await work(stack.use(await openDiskBlobs(storeDir)));
  }
  const { findStream } = await import("../../../src/jetstream/cluster/copies.ts");
  const { connectNats } = await import("../../../src/nats/connection/connect.ts");
  const connection = await connectNats(await natsTarget(context, { ...flags, natsUrl }));
  stack.defer(() => connection.close());
  const { signal } = context.io;
  const name = `${bucket}_BLOBS`;
  // A slip in a name must not make an empty place.
  if (await findStream(connection, `OBJ_${name}`, Date.now() + 10_000, signal) === null) {
    throw new StoreError("not_found", `No bucket ${name} on this server`, { field: "bucket" });
  }
  await work(stack.use(await openObjectBlobs({ connection, bucket: name, signal })));
}

function missing(id: string): StoreError {
  return new StoreError("not_found", `No blob ${id}`);
}

function placed<A extends unknown[], O extends Record<string, unknown>>(
  it: Parameters<typeof withNats<A, O>>[0],
) {
  return withNats(it.option("--store-dir <directory>", `the directory (default: ${DEFAULT_DIR})`));
}
