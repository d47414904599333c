/**
 * `blobs to-kv|to-disk`: copies the blobs when the store moves.
 *
 * @module
 */

import type { BlobStore, CopyBlobsReport } from "../../../src/blobs/mod.ts";
import { counted } from "../../../src/core/text/counted.ts";
import { refuseClientsAccount } from "../../store/account.ts";
import {
  command,
  type CommandUnknownOpts,
  type Context,
  type JsonFlag,
  type ProgressFlag,
  type ServerFlags,
  withJson,
  withProgress,
  withServer,
} from "../../command.ts";
import { natsTarget } from "../../store/open.ts";
import { print, printJson } from "../../terminal/output.ts";
import { Progress } from "../../terminal/progress.ts";
import { DEFAULT_DIR, deleteBlob, requireDirectory, requireObjects, showBlob } from "./place.ts";

/** Creates the command. */
export function blobsCommand(context: Context): CommandUnknownOpts {
  return command(
    context,
    "blobs",
    "Show, delete and copy blobs. When the store moves, copy them from a directory to NATS, or back",
    [
      "membershipd blobs delete ID",
      "membershipd blobs to-kv --nats-url nats://127.0.0.1:4250 --service-keys keys.json",
      "membershipd blobs to-disk --store-dir ./blobs --nats-url nats://127.0.0.1:4250",
    ],
  )
    .addCommand(showBlob(context))
    .addCommand(deleteBlob(context))
    .addCommand(direction(context, "to-kv"))
    .addCommand(direction(context, "to-disk"));
}

type Direction = "to-kv" | "to-disk";

function direction(context: Context, name: Direction): CommandUnknownOpts {
  const text = name === "to-kv"
    ? "Copy the blobs of a directory to a NATS object store. Skips existing blobs and verifies each " +
      "one by its SHA-256. Run it again to resume an interrupted copy"
    : "Copy the blobs of a NATS object store to a directory. Skips existing blobs and verifies each " +
      "one by its SHA-256. Run it again to resume an interrupted copy";
  const example = `membershipd blobs ${name} --nats-url nats://127.0.0.1:4250`;
  return withJson(withProgress(withServer(
    command(context, name, text, [example, `${example} --store-dir /var/lib/membershipd/blobs`])
      .option("--store-dir <directory>", `directory of the blobs (default: ${DEFAULT_DIR})`),
  ))).action((flags) => copy(context, name, flags));
}

async function copy(
  context: Context,
  name: Direction,
  flags: ServerFlags & JsonFlag & ProgressFlag & { storeDir?: string },
): Promise<void> {
  const { storeDir = DEFAULT_DIR, bucket = "UNIBUS" } = flags;
  context.resume = "run the same command again to continue";
  const { copyBlobs, openDiskBlobs, openObjectBlobs } = await import("../../../src/blobs/mod.ts");
  const { findStream } = await import("../../../src/jetstream/log/wire.ts");
  const { connectNats } = await import("../../../src/nats/connection/connect.ts");
  const { signal } = context.io;
  await using stack = new AsyncDisposableStack();
  const target = await natsTarget(context, flags);
  if (name === "to-kv") await refuseClientsAccount(target, signal);
  const connection = await connectNats(target);
  stack.defer(() => connection.close());
  // A typo in a name must not create an empty source and then report success.
  if (name === "to-kv") requireDirectory(storeDir);
  else await requireObjects(connection, bucket, signal);
  // As many copies as the control plane has.
  const control = await findStream(connection, `KV_${bucket}`, Date.now() + 10_000, signal);
  const replicas = control?.config.num_replicas;
  const disk = stack.use(await openDiskBlobs(storeDir));
  const objects = stack.use(
    await openObjectBlobs({
      connection,
      bucket: `${bucket}_BLOBS`,
      ...name === "to-disk" || replicas === undefined ? {} : { replicas, resize: false },
      signal,
    }),
  );
  const [from, to]: BlobStore[] = name === "to-kv" ? [disk, objects] : [objects, disk];

  const report = await copied(context, flags, from!, to!, copyBlobs);
  if (flags.json) return await printJson(context, report);
  const { count, bytes, copied: news } = report;
  await print(
    context,
    `${counted(count, "blob")}, ${counted(bytes, "byte")}; ${news} copied, ${
      count - news
    } already present`,
  );
}

async function copied(
  { io }: Context,
  flags: ProgressFlag,
  from: BlobStore,
  to: BlobStore,
  copyBlobs: typeof import("../../../src/blobs/mod.ts").copyBlobs,
): Promise<CopyBlobsReport> {
  using progress = new Progress(io, flags);
  const onProgress = (done: number) => progress.show({ phase: "copy", done, total: null });
  const report = await copyBlobs(from, to, { signal: io.signal, onProgress });
  progress.show({ phase: "done", done: report.count, total: report.count });
  return report;
}
