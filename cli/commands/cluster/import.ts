/**
 * `cluster import`
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import { StoreError } from "../../../src/core/errors.ts";
import { counted } from "../../../src/core/text/counted.ts";
import { openJetStream } from "../../../src/jetstream/mod.ts";
import { copyStream, isCopy, isHalf } from "../../../src/jetstream/cluster/transfer.ts";
import { apiCode, findStream, manage, wait } from "../../../src/jetstream/log/wire.ts";
import { SnapshotDigest, type SnapshotSummary } from "../../../src/snapshot/format.ts";
import { command, type CommandUnknownOpts, type Context, withProgress } from "../../command.ts";
import { UsageError } from "../../terminal/failure.ts";
import { wholeNumber } from "../../flags.ts";
import { countsText, digestLines, print, printJson, say } from "../../terminal/output.ts";
import { Progress } from "../../terminal/progress.ts";
import { reach, withCluster } from "./connect.ts";
import { lookAt } from "../../cluster/directory.ts";
import { streamsOf } from "../../../src/jetstream/cluster/status.ts";
import { CONTROL_ACCOUNT, SYSTEM_ACCOUNT } from "../../../src/nats/callout/accounts.ts";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { createNkey } from "../../../src/keys/nkey.ts";
import { startNatsServer } from "../../../src/nats/server/server.ts";
import { natsServer } from "../../nats_server.ts";
import { lockStore } from "../../serve/lock.ts";
import { demandAll } from "../../terminal/permissions.ts";

/** Timeout of a request in milliseconds. */
const PATIENCE_MS = 20_000;

/** Creates the command. */
export function importCommand(context: Context): CommandUnknownOpts {
  return withCluster(withProgress(
    command(
      context,
      "import",
      "Copy the control plane and the blobs from a stopped server's directory of streams into running " +
        "servers, message by message, and compare them: from a standalone server into a cluster, or " +
        "back. The target must run with --nats-only and must not have these buckets yet",
      [
        "membershipd cluster import ./local_files/jetstream.single --nats-url nats://127.0.0.1:4250 --service-keys keys.json",
        "membershipd cluster import /srv/unibus/jetstream.single --replicas 3 --nats-url nats://n1:4250 --service-keys keys.json",
      ],
    )
      .argument(
        "<directory>",
        "the --nats-store directory of the stopped server; it is not changed",
      )
      .option("--replicas <n>", "number of copies (default: 1)", wholeNumber(1, 5)),
  )).action(async (directory, flags) => {
    const { io } = context;
    const { signal } = io;
    const { replicas = 1 } = flags;
    const { streams } = await lookAt(directory);
    if (streams.length === 0) {
      throw new UsageError(
        `${directory} contains no streams; specify the --nats-store directory of a server`,
      );
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
        const made = await bring(
          target.service,
          { bucket, stream, source: source.connection },
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
      throw new StoreError(
        "mismatch",
        `Bucket ${target.bucket} differs from its source after the copy`,
      );
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
        `${it.bucket}: ${counted(it.messages, "message")}, ${
          it.copied ? "copied" : "already present"
        }`
      ),
      `compared: ${countsText(to.counts)}`,
      ...digestLines(digests),
    );
    if (left.length > 0) {
      await say(
        context,
        `warning: other streams in ${directory} were not copied: ${left.join(", ")}`,
      );
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

/** A stream to be copied. */
interface Wanted {
  bucket: string;
  stream: string;
  source: NatsConnection;
}

/** Error code: the server is still cleaning up after an interrupted copy. */
const STILL_RESTORING = 10130;
const CLEAR_UP_MS = 90_000;

/** Copies a stream unless it already exists in the expected state; reports whether it did. */
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
      progress.show({ phase: "wait for the cleanup of an earlier copy", done: 0, total: null });
      await wait(250, signal);
    }
  }
}

/**
 * Returns true if the stream already exists in the expected state. Deletes a partial or empty copy.
 */
async function makeRoom(
  target: NatsConnection,
  { bucket, stream, source }: Wanted,
  signal: AbortSignal,
): Promise<boolean> {
  const found = await findStream(target, stream, soon(), signal);
  if (found === null) return false;
  const half = isHalf(found);
  if (!half && await isCopy(source, found, signal)) return true;
  const { messages, consumer_count } = found.state;
  if (half || (messages === 0 && !consumer_count)) {
    const options = { deadline: soon(), signal };
    await manage(target, `Delete stream ${stream}`, (jsm) => jsm.streams.delete(stream), options);
    return false;
  }
  throw new StoreError(
    "refused",
    consumer_count
      ? `Bucket ${bucket} is in use on the target; stop the servers and run them with --nats-only`
      : `Bucket ${bucket} already exists on the target, with ${
        counted(messages, "message")
      }; nothing was changed`,
  );
}

function nothing(directory: string, streams: readonly { stream: string }[]): StoreError {
  const many = streams.some((it) => it.stream.startsWith("KV_"));
  return new StoreError(
    "not_found",
    `${directory} contains no such bucket that a standalone server can read` +
      (many
        ? "; if it is the directory of a cluster node, first run membershipd cluster scale " +
          "--replicas 1 --keep with the node's name, then stop the node"
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
  const digest = new SnapshotDigest();
  for await (const record of store.records({ signal })) digest.add(record);
  return digest.summary();
}

/** Timeout of the start in milliseconds, which includes recovering the streams. */
const START_MS = 120_000;

/** Serves the directory on loopback, accessible only to this process. */
async function openDirectory(
  directory: string,
  { env, signal }: { env: Readonly<Record<string, string | undefined>>; signal: AbortSignal },
): Promise<AsyncDisposable & { connection: NatsConnection }> {
  await using stack = new AsyncDisposableStack();
  demandAll(`Reading the streams in ${directory}`);
  const { path: binary } = await natsServer({ env, signal });
  const lock = await lockStore(directory, { signal, log: () => {} });
  stack.defer(() => lock.release());
  const key = createNkey("user");
  const server = stack.use(
    await startNatsServer({
      binary,
      signal,
      startTimeout: START_MS,
      jetstream: { storeDir: directory },
      accounts: {
        [CONTROL_ACCOUNT]: { jetstream: true, users: [{ nkey: key.publicKey }] },
        [SYSTEM_ACCOUNT]: {},
      },
      systemAccount: SYSTEM_ACCOUNT,
    }),
  );
  lock.usedBy(server.pid);
  const connection = await connectNats({
    servers: server.url,
    nkeySeed: key.seed,
    name: "membershipd cluster import",
    bootstrapTimeout: START_MS,
    signal,
  });
  stack.defer(() => connection.close());
  const owned = stack.move();
  return { connection, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
