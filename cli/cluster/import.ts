/**
 * `cluster import`
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import { StoreError } from "../../src/core/errors.ts";
import { askStream, findStream } from "../../src/jetstream/cluster/copies.ts";
import { openJetStream } from "../../src/jetstream/mod.ts";
import { copyStream, isHalf, numbersOf } from "../../src/jetstream/cluster/transfer.ts";
import { apiCode, wait } from "../../src/jetstream/log/wire.ts";
import { SnapshotDigest, type SnapshotSummary } from "../../src/snapshot/format.ts";
import { command, type CommandUnknownOpts, type Context, withProgress } from "../command.ts";
import { UsageError } from "../terminal/failure.ts";
import { wholeNumber } from "../flags.ts";
import { countsText, digestLines, print, printJson, say } from "../terminal/output.ts";
import { Progress } from "../terminal/progress.ts";
import { reach } from "./reach/connect.ts";
import { lookAt } from "./reach/directory.ts";
import { withCluster } from "./flags.ts";
import { openDirectory } from "./reach/source.ts";
import { streamsOf } from "../../src/jetstream/cluster/status.ts";

/** How long one question may take, milliseconds. */
const PATIENCE_MS = 20_000;

/** Makes the command. */
export function importCommand(context: Context): CommandUnknownOpts {
  return withCluster(withProgress(
    command(
      context,
      "import",
      "Copy the control plane and the blobs from a directory of streams into running servers, message " +
        "for message, and compare them: from a server by itself into a cluster, and back. The " +
        "directory is that of a stopped server; the target runs with --nats-only and has none yet",
      [
        "membershipd cluster import ./local_files/jetstream.single --nats-url nats://127.0.0.1:4250 --service-keys keys.json",
        "membershipd cluster import /srv/unibus/jetstream.single --replicas 3 --nats-url nats://n1:4250 --service-keys keys.json",
      ],
    )
      .argument("<directory>", "what --nats-store named; it stays as it is")
      .option("--replicas <n>", "copies to make (default: 1)", wholeNumber(1, 5)),
  )).action(async (directory, flags) => {
    const { io } = context;
    const { signal } = io;
    const { replicas = 1 } = flags;
    const { streams } = await lookAt(directory);
    if (streams.length === 0) {
      throw new UsageError(`${directory} holds no streams; name what --nats-store named`);
    }
    await using target = await reach(context, flags);
    await using source = await openDirectory(directory, { env: io.env, signal });
    context.resume = "run the same command again";
    const copied: Copied[] = [];
    {
      using progress = new Progress(io, flags);
      for (const { bucket, stream } of streamsOf(target.bucket)) {
        const found = await findStream(source.connection, stream, soon(), signal);
        if (found === null) continue;
        const show = (done: number) =>
          progress.show({ phase: `copy ${bucket}`, done, total: null, unit: "bytes" });
        const copy = () =>
          copyStream(source.connection, target.service, stream, {
            replicas,
            signal,
            onProgress: show,
          });
        const wanted = numbersOf(found.state);
        const made = await bring(
          target.service,
          { bucket, stream, wanted },
          copy,
          progress,
          signal,
        );
        copied.push({ bucket, messages: found.state.messages, copied: made });
      }
      const done = copied.reduce((sum, it) => sum + it.messages, 0);
      progress.show({ phase: "done", done, total: done, unit: "messages" });
    }
    if (!copied.some(({ bucket }) => bucket === target.bucket)) throw nothing(directory, streams);
    const [from, to] = await Promise.all(
      [source.connection, target.service].map((it) => digest(it, target.bucket, signal)),
    ) as [SnapshotSummary, SnapshotSummary];
    if (from.digest !== to.digest) {
      throw new StoreError("mismatch", `Bucket ${target.bucket} came out other than it was`);
    }
    const taken = streamsOf(target.bucket).map((it) => it.stream);
    const left = streams.filter((it) => !taken.includes(it.stream)).map((it) => it.stream);
    const digests = { ...to.digests, all: to.digest };
    if (flags.json) {
      return await printJson(context, {
        directory,
        buckets: copied,
        counts: to.counts,
        digests,
        left,
      });
    }
    await print(
      context,
      ...copied.map((it) =>
        `${it.bucket}: ${it.messages} messages, ${it.copied ? "copied" : "were there already"}`
      ),
      `compared: ${countsText(to.counts)}`,
      ...digestLines(digests),
    );
    if (left.length > 0) {
      await say(context, `warning: other streams stay in ${directory}: ${left.join(", ")}`);
    }
  });
}

interface Copied {
  bucket: string;
  messages: number;
  copied: boolean;
}

function soon(): number {
  return Date.now() + PATIENCE_MS;
}

/** What shall be where. */
interface Wanted {
  bucket: string;
  stream: string;
  wanted: Record<string, unknown>;
}

/** The server still clears up after a copy that was ended before; it takes its time. */
const STILL_RESTORING = 10130;
const CLEAR_UP_MS = 90_000;

/** Copies a stream unless it is there already as it shall be; tells whether it did. */
async function bring(
  target: NatsConnection,
  what: Wanted,
  copy: () => Promise<unknown>,
  progress: Progress,
  signal: AbortSignal,
): Promise<boolean> {
  for (const deadline = Date.now() + CLEAR_UP_MS;;) {
    if (await makeRoom(target, what, signal)) return false;
    try {
      await copy();
      return true;
    } catch (error) {
      if (apiCode(error) !== STILL_RESTORING || Date.now() > deadline) throw error;
      progress.show({ phase: "wait for the end of an earlier copy", done: 0, total: null });
      await wait(250, signal);
    }
  }
}

/** True when the stream is there already as it shall be. Half a copy, or one that is empty, is removed. */
async function makeRoom(
  target: NatsConnection,
  { bucket, stream, wanted }: Wanted,
  signal: AbortSignal,
): Promise<boolean> {
  const found = await findStream(target, stream, soon(), signal);
  if (found === null) return false;
  const half = isHalf(found);
  if (!half && JSON.stringify(numbersOf(found.state)) === JSON.stringify(wanted)) return true;
  const { messages, consumer_count } = found.state as { messages: number; consumer_count?: number };
  if (half || (messages === 0 && !consumer_count)) {
    await askStream(target, `STREAM.DELETE.${stream}`, undefined, soon(), signal);
    return false;
  }
  throw new StoreError(
    "refused",
    consumer_count
      ? `Bucket ${bucket} is in use there; stop the servers and run them with --nats-only`
      : `Bucket ${bucket} is there already, with ${messages} messages; nothing was changed`,
  );
}

function nothing(directory: string, streams: readonly { stream: string }[]): StoreError {
  const many = streams.some((it) => it.stream.startsWith("KV_"));
  return new StoreError(
    "not_found",
    `${directory} holds no such bucket that can be read by one server` +
      (many
        ? "; of a node of a cluster it can when there is one copy: membershipd cluster scale " +
          "--replicas 1 --keep with that node's name, before it is stopped"
        : ""),
  );
}

async function digest(
  connection: NatsConnection,
  bucket: string,
  signal: AbortSignal,
): Promise<SnapshotSummary> {
  await using store = await openJetStream({
    connection,
    bucket,
    create: false,
    allowInProgress: true,
    opTimeout: PATIENCE_MS,
    signal,
  });
  const it = new SnapshotDigest();
  for await (const record of store.records({ signal })) it.add(record);
  return it.summary();
}
