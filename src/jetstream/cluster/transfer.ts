/**
 * Copies a stream from one server to another, message by message, with unchanged sequences and
 * times: streams nats-server's backup into its restore.
 *
 * @module
 */

import { createInbox, type Msg, type NatsConnection } from "@nats-io/transport-node";
import { StoreError } from "../../core/errors.ts";
import type { StreamInfo } from "@nats-io/jetstream";
import { COPYING_KEY } from "../log/stream.ts";
import {
  aborted,
  ask,
  findStream,
  left,
  ofConnection,
  parseAnswer,
  publish,
  request,
  subscribe,
  updateStream,
  wait,
} from "../log/wire.ts";

/** Size of a chunk in bytes. */
const PIECE = 128 * 1024;
/** Timeout in milliseconds for the next chunk or its answer. */
const PATIENCE = 30_000;
/** How long the servers may take to remove what has expired, milliseconds. */
const EXPIRY = 5_000;
/** Milliseconds between two looks. */
const LOOK = 100;

/** Options of {@link copyStream}. */
export interface CopyOptions {
  /** Number of copies of the target stream. */
  replicas: number;
  /** Aborts the copy; the target stream is then missing or incomplete. */
  signal?: AbortSignal;
  /** Called with the number of compressed bytes transferred. */
  onProgress?: (bytes: number) => void;
}

/** Reports whether a stream is an incomplete copy. */
export function isHalf(info: StreamInfo): boolean {
  return info.config.metadata?.[COPYING_KEY] !== undefined;
}

/**
 * Copies a stream. After an interruption, the target may be incomplete, which {@link isHalf}
 * reports; delete it then.
 *
 * @throws {StoreError} not_found: the source does not exist
 * @throws {StoreError} unavailable: a server became unavailable
 * @throws {StoreError} mismatch: the copy differs from the source in its number of messages, last
 * sequence or number of subjects
 */
export async function copyStream(
  source: NatsConnection,
  target: NatsConnection,
  stream: string,
  { replicas, signal, onProgress }: CopyOptions,
): Promise<StreamInfo> {
  const deadline = Date.now() + PATIENCE;
  const sources = await sourcesOf(source, stream, deadline, signal);
  const inbox = createInbox();
  const pieces = new Pieces();
  const sub = subscribe(source, inbox, {
    callback: (error, msg) => error ? pieces.fail(error) : pieces.push(msg),
  });
  try {
    const query = { deliver_subject: inbox, no_consumers: true, chunk_size: PIECE, jsck: true };
    const { config, state } = await ask<Pick<StreamInfo, "config" | "state">>(
      source,
      `STREAM.SNAPSHOT.${stream}`,
      query,
      { deadline, signal },
    );
    const { [COPYING_KEY]: _, ...metadata } = config.metadata ?? {};
    const { deliver_subject: to } = await ask<{ deliver_subject: string }>(
      target,
      `STREAM.RESTORE.${stream}`,
      {
        config: {
          ...config,
          ...sources && { sources },
          num_replicas: replicas,
          metadata: { ...metadata, [COPYING_KEY]: "1" },
        },
        state,
      },
      { deadline, signal },
    );
    for (let bytes = 0;;) {
      if (signal?.aborted) throw aborted(signal);
      const piece = await pieces.next(signal);
      const status = piece.headers?.code ?? 0;
      if (status !== 0 && status !== 204) throw ended(stream, piece.headers!.description);
      const answer = await request(target, to, piece.data, PATIENCE);
      if (piece.data.length === 0) {
        parseAnswer(answer, `Restore ${stream}`);
        break;
      }
      if (answer.data.length > 0) parseAnswer(answer, `Restore ${stream}`);
      // Flow control: the source waits for this before it sends more.
      if (piece.reply) publish(source, piece.reply, "");
      onProgress?.(bytes += piece.data.length);
    }
    const copy = await compared(source, target, stream, signal);
    await updateStream(target, stream, { metadata }, { deadline: Date.now() + PATIENCE, signal });
    return copy;
  } catch (error) {
    throw error instanceof StoreError
      ? error
      : new StoreError("unavailable", `Copying ${stream}: ${(error as Error).message}`, {
        cause: ofConnection(target, error),
      });
  } finally {
    if (!source.isClosed()) sub.unsubscribe();
  }
}

function ended(stream: string, why: string): StoreError {
  return new StoreError("unavailable", `Copying ${stream}: the source ended the transfer: ${why}`);
}

/**
 * Returns the sources of a stream as a copy of it must have them, when it has received everything from
 * them: nats-server does not recognise the copy of a source, and would add all of its messages again.
 */
async function sourcesOf(
  source: NatsConnection,
  stream: string,
  deadline: number,
  signal: AbortSignal | undefined,
): Promise<StreamInfo["config"]["sources"]> {
  for (;;) {
    const info = await findStream(source, stream, deadline, signal);
    const sources = info?.config.sources;
    if (!sources?.length) return undefined;
    const late = info!.sources?.find(({ lag, active }) => lag > 0 || active < 0)?.name;
    if (late === undefined) {
      return await Promise.all(sources.map(async (it) => {
        const { last_seq = 0 } = (await findStream(source, it.name, deadline, signal))?.state ?? {};
        return { ...it, opt_start_seq: last_seq + 1 };
      }));
    }
    if (Date.now() + LOOK > deadline) {
      throw new StoreError("unavailable", `Copying ${stream}: it does not receive all of ${late}`);
    }
    await wait(LOOK, signal);
  }
}

/** Returns the numbers that must be equal for two equal streams. */
function numbersOf(info: StreamInfo | null): string {
  if (info === null) return "no stream";
  const { messages, last_seq, num_subjects = 0 } = info.state;
  return JSON.stringify({ messages, last_seq, num_subjects });
}

/** Whether a stream has the numbers of the one in another server. */
export async function isCopy(
  source: NatsConnection,
  info: StreamInfo,
  signal?: AbortSignal,
): Promise<boolean> {
  const wanted = await findStream(source, info.config.name, Date.now() + PATIENCE, signal);
  return numbersOf(wanted) === numbersOf(info);
}

/** Compares the copy with the source, in both of which messages expire meanwhile. */
async function compared(
  source: NatsConnection,
  target: NatsConnection,
  stream: string,
  signal: AbortSignal | undefined,
): Promise<StreamInfo> {
  const deadline = Date.now() + PATIENCE;
  for (const end = Date.now() + EXPIRY;;) {
    const got = await findStream(target, stream, deadline, signal);
    const wanted = await findStream(source, stream, deadline, signal);
    if (got !== null && numbersOf(got) === numbersOf(wanted)) return got;
    if (Date.now() > end) {
      const [from, to] = [wanted, got].map(numbersOf);
      throw new StoreError("mismatch", `Copying ${stream}: expected ${from}, found ${to}`);
    }
    await wait(LOOK, signal);
  }
}

/** A queue of received chunks. */
class Pieces {
  readonly #come: Msg[] = [];
  #error: Error | null = null;
  #wake: () => void = () => {};

  push(msg: Msg): void {
    this.#come.push(msg);
    this.#wake();
  }

  fail(error: Error): void {
    this.#error ??= error;
    this.#wake();
  }

  async next(signal: AbortSignal | undefined): Promise<Msg> {
    const deadline = Date.now() + PATIENCE;
    for (;;) {
      const msg = this.#come.shift();
      if (msg !== undefined) return msg;
      if (this.#error !== null) throw this.#error;
      if (signal?.aborted) throw aborted(signal);
      if (Date.now() >= deadline) throw new Error("the source stopped sending");
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(left(deadline), 250));
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}
