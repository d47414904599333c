/**
 * The stream under an object store's bucket: created, changed, read and written.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import {
  DirectMsgHeaders,
  jetstream,
  type JetStreamClient,
  type JetStreamPublishOptions,
  JsHeaders,
  type StreamInfo,
} from "@nats-io/jetstream";
import { Objm } from "@nats-io/obj";
import { headers, type NatsConnection } from "@nats-io/transport-node";
import { StoreError } from "../../core/errors.ts";
import { directGet, endedBy, leaderGet, type LeaderQuery } from "../../jetstream/log/direct.ts";
import {
  answered,
  apiCode,
  ask,
  CODE,
  findStream,
  hasNoResponder,
  InFlight,
  left,
  purgeStream,
  retry,
  Transient,
  updateStream,
  wait,
} from "../../jetstream/log/wire.ts";
import { type ObjectInfo, ObjectSubjects } from "./format.ts";

/** Milliseconds for one try: a request sent while there is no leader is dropped. */
const TRY_TIMEOUT = 2000;
/** How long looking for the reason of a refused write may take, milliseconds. */
const LOOK = 500;

/** A stored message. */
export interface Message {
  /** Its subject. */
  subject: string;
  /** Its sequence. */
  sequence: number;
  /** When the server stored it; not known from a batch. */
  time?: string;
  /** Its bytes. */
  data: Uint8Array<ArrayBuffer>;
}

/** Options of {@link ObjectStream.ensure}. */
export interface EnsureOptions {
  /** Copies of the stream. Default: 1 for a new one, else unchanged. */
  replicas: number | undefined;
  /** Whether an existing stream is changed to `replicas`. */
  resize: boolean;
  /** When to give up, milliseconds since the epoch. */
  deadline: number;
  /** Ends the wait. */
  signal: AbortSignal | undefined;
}

/** The stream of one bucket on one connection. */
export class ObjectStream {
  /** The connection. */
  readonly nc: NatsConnection;
  /** The bucket's subjects. */
  readonly subjects: ObjectSubjects;
  readonly #js: JetStreamClient;
  readonly #onFrozen: () => Promise<void>;

  /** @param onFrozen Called when its writers are found stopped; may let them go on */
  constructor(nc: NatsConnection, bucket: string, onFrozen = () => Promise.resolve()) {
    this.nc = nc;
    this.subjects = new ObjectSubjects(bucket);
    this.#onFrozen = onFrozen;
    this.#js = jetstream(nc, { checkAPI: false, timeout: TRY_TIMEOUT });
  }

  /** Creates the stream if it does not exist, and changes its replicas if `resize` allows it. */
  async ensure({ replicas, resize, deadline, signal }: EnsureOptions): Promise<void> {
    const { bucket, stream } = this.subjects;
    for (;;) {
      try {
        const info = await this.info(deadline, signal);
        if (info === null) {
          await retry(`Create stream ${stream}`, deadline, () => {
            const made = new Objm(this.#js).create(bucket, { replicas: replicas ?? 1 });
            return answered(this.nc, `Create stream ${stream}`, made);
          }, signal);
        } else {
          const { num_replicas: found } = info.config;
          const num_replicas = resize ? replicas ?? found : found;
          if (info.config.allow_direct && found === num_replicas) return;
          const config = { allow_direct: true, num_replicas };
          await updateStream(this.nc, stream, config, { deadline, signal });
        }
      } catch (error) {
        const code = apiCode(error);
        // Another process was quicker.
        if (code === CODE.streamNameInUse) continue;
        if (code === CODE.replicasNotSupported) {
          throw new StoreError("invalid", `replicas ${replicas} needs a cluster of that many`, {
            field: "replicas",
            cause: error,
          });
        }
        // Servers of a cold cluster may still be starting.
        const scarce = code === CODE.noPeers || code === CODE.insufficientResources;
        if (!scarce || Date.now() + 500 > deadline) throw error;
        await wait(500, signal);
      }
    }
  }

  /** Reads the stream's information; `null` when there is no such stream. */
  info(deadline: number, signal?: AbortSignal): Promise<StreamInfo | null> {
    return findStream(this.nc, this.subjects.stream, deadline, signal);
  }

  /**
   * Returns how many messages each matching subject has; 100,000 subjects from `offset` on. The library
   * reads all pages into memory.
   */
  async counts(
    filter: string,
    deadline: number,
    offset = 0,
  ): Promise<{ counts: Map<string, number>; total: number }> {
    const name = `STREAM.INFO.${this.subjects.stream}`;
    const query = { subjects_filter: filter, offset };
    const info = await ask<StreamInfo>(this.nc, name, query, { deadline });
    const counts = new Map(Object.entries(info.state.subjects ?? {}));
    return { counts, total: info.total ?? counts.size };
  }

  /** Removes every message of a subject. */
  purge(filter: string, deadline: number): Promise<void> {
    return purgeStream(this.nc, this.subjects.stream, { filter }, deadline);
  }

  /** Stores a chunk, in one try; returns its sequence. */
  append(nuid: string, chunk: Uint8Array, timeout: number, what: string): Promise<number> {
    return this.#publish(this.subjects.chunksOf(nuid), chunk, { timeout }, what);
  }

  /** Replaces the description whose revision is `expected`, 0 for none, in one try; returns the new revision. */
  describe(info: ObjectInfo, expected: number, deadline: number, what: string): Promise<number> {
    const rollup = headers();
    rollup.set(JsHeaders.RollupHdr, JsHeaders.RollupValueSubject);
    return this.#publish(this.subjects.metaOf(info.name), JSON.stringify(info), {
      headers: rollup,
      expect: { lastSubjectSequence: expected },
      timeout: Math.min(left(deadline), TRY_TIMEOUT),
    }, what);
  }

  async #publish(
    subject: string,
    payload: string | Uint8Array,
    options: Partial<JetStreamPublishOptions>,
    what: string,
  ): Promise<number> {
    try {
      const { seq } = await answered(this.nc, what, this.#js.publish(subject, payload, options));
      return seq;
    } catch (error) {
      if (!hasNoResponder(error) || !await this.#isFrozen()) throw error;
      await this.#onFrozen().catch(() => {});
      const { bucket } = this.subjects;
      throw new InFlight(`bucket ${bucket} takes no blobs while the control plane moves to a file`);
    }
  }

  async #isFrozen(): Promise<boolean> {
    const info = await this.info(Date.now() + LOOK).catch(() => null);
    return info?.config.subjects?.includes(this.subjects.frozen) ?? false;
  }

  /** Reads one message at the leader: a subject's last, or its first from a sequence on. */
  read(query: LeaderQuery, deadline: number): Promise<Message | null> {
    const what = "Read an object";
    return retry(what, deadline, async () => {
      const timeout = Math.min(left(deadline), TRY_TIMEOUT);
      const found = await leaderGet(this.nc, this.subjects.stream, query, timeout, what);
      if (found === null) return null;
      const { subject, seq, time, data = "" } = found;
      return { subject, sequence: seq, time, data: new Uint8Array(Buffer.from(data, "base64")) };
    });
  }

  /**
   * Reads up to `count` matching messages, from a sequence on, in order and without a gap. Any replica
   * may answer; one that is behind answers with fewer.
   */
  readBatch(
    filter: string,
    sequence: number,
    count: number,
    deadline: number,
  ): Promise<Message[]> {
    const query = { seq: sequence, next_by_subj: filter, batch: count };
    return retry("Read an object", deadline, async () => {
      const found: Message[] = [];
      const timeout = Math.min(left(deadline), TRY_TIMEOUT);
      try {
        const { stream } = this.subjects;
        const end = await directGet(this.nc, stream, query, timeout, (subject, headers, data) => {
          const previous = Number(headers.get(DirectMsgHeaders.LastSequence));
          // The first message names none; each of the others names the one before it.
          if (found.length > 0 && previous !== found.at(-1)!.sequence) throw new Transient("gap");
          const sequence = Number(headers.get(DirectMsgHeaders.Sequence));
          // Copied: the library's bytes are a view of what came in one read of the socket.
          found.push({ subject, sequence, data: new Uint8Array(data) });
        });
        // 204: the end of the batch. 404: there is none.
        if (end.code !== 204 && end.code !== 404) throw endedBy(end);
      } catch (error) {
        // What came before the answers stopped is good; only nothing at all is another try.
        if (found.length === 0 || !(error instanceof Transient)) throw error;
      }
      return found;
    });
  }
}
