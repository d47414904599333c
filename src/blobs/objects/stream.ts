/**
 * The stream under an object store's bucket: made, asked, and its messages read.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { createInbox, type NatsConnection } from "@nats-io/transport-node";
import { StoreError } from "../../core/errors.ts";
import {
  apiCode,
  type ApiError,
  CODE,
  left,
  ofApi,
  parseAnswer,
  publish,
  request,
  retry,
  subscribe,
  Transient,
  wait,
} from "../../jetstream/log/wire.ts";
import { ObjectSubjects } from "./format.ts";

/** How long one try may take before the next: a request sent while there is no leader is dropped. */
const TRY_TIMEOUT = 2000;

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

/** What the server says of a stream; the parts we use. */
export interface StreamInfo {
  /** The configuration. */
  config: Record<string, unknown> & { num_replicas: number; allow_direct?: boolean };
  /** Its messages; `subjects` where they were asked for. */
  state: { messages: number; bytes: number; subjects?: Record<string, number> | null };
  /** The Raft group, where there is one. */
  cluster?: { leader?: string; replicas?: { current: boolean; offline?: boolean }[] };
  /** How many subjects there are, where they were asked for. */
  total?: number;
}

/** How the stream is wanted. */
export interface EnsureOptions {
  /** Copies of the stream; left as it is, or 1, when not named. */
  replicas: number | undefined;
  /** Bring one that is there to `replicas` too. */
  resize: boolean;
  /** When to give up. */
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

  constructor(nc: NatsConnection, bucket: string) {
    this.nc = nc;
    this.subjects = new ObjectSubjects(bucket);
  }

  /** Sends a request about the stream, retried until `deadline`. */
  api<T>(action: string, payload: unknown, deadline: number, signal?: AbortSignal): Promise<T> {
    const subject = `$JS.API.STREAM.${action}.${this.subjects.stream}`;
    const body = payload === undefined ? "" : JSON.stringify(payload);
    const what = `JetStream ${action}`;
    return retry(what, deadline, async () => {
      const timeout = Math.min(left(deadline), TRY_TIMEOUT);
      return parseAnswer<T>(await request(this.nc, subject, body, timeout), what);
    }, signal);
  }

  /** Makes the stream where there is none, and brings it to the number of replicas if it may. */
  async ensure({ replicas, resize, deadline, signal }: EnsureOptions): Promise<void> {
    for (;;) {
      try {
        const info = await this.info(deadline, signal);
        if (info === null) {
          await this.api("CREATE", this.#config(replicas ?? 1), deadline, signal);
        } else {
          const { num_replicas: found } = info.config;
          const num_replicas = resize ? replicas ?? found : found;
          if (info.config.allow_direct && found === num_replicas) return;
          const config = { ...info.config, allow_direct: true, num_replicas };
          await this.api("UPDATE", config, deadline, signal);
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
        // Servers of a cold cluster may still be on their way.
        const scarce = code === CODE.noPeers || code === CODE.insufficientResources;
        if (!scarce || Date.now() + 500 > deadline) throw error;
        await wait(500, signal);
      }
    }
  }

  /** As the object store's own library makes it. */
  #config(replicas: number): Record<string, unknown> {
    const { stream, chunks, metas } = this.subjects;
    return {
      name: stream,
      subjects: [chunks, metas],
      storage: "file",
      num_replicas: replicas,
      discard: "new",
      allow_direct: true,
      allow_rollup_hdrs: true,
    };
  }

  /** What the server says of the stream, or `null` when there is none. */
  async info(deadline: number, signal?: AbortSignal): Promise<StreamInfo | null> {
    try {
      return await this.api<StreamInfo>("INFO", undefined, deadline, signal);
    } catch (error) {
      if (apiCode(error) === CODE.streamNotFound) return null;
      throw error;
    }
  }

  /** How many messages each subject that matches has; 100,000 subjects from `offset` on. */
  async counts(
    filter: string,
    deadline: number,
    offset = 0,
  ): Promise<{ counts: Map<string, number>; total: number }> {
    const payload = { subjects_filter: filter, offset };
    const info = await this.api<StreamInfo>("INFO", payload, deadline);
    const counts = new Map(Object.entries(info.state.subjects ?? {}));
    return { counts, total: info.total ?? counts.size };
  }

  /** Removes every message of a subject. */
  async purge(filter: string, deadline: number): Promise<void> {
    await this.api("PURGE", { filter }, deadline);
  }

  /** Reads one message at the leader: a subject's last, or its first from a sequence on. */
  read(
    query: { last_by_subj: string } | { seq: number; next_by_subj: string },
    deadline: number,
  ): Promise<Message | null> {
    const body = JSON.stringify(query);
    const subject = `$JS.API.STREAM.MSG.GET.${this.subjects.stream}`;
    return retry("Read an object", deadline, async () => {
      const timeout = Math.min(left(deadline), TRY_TIMEOUT);
      const msg = await request(this.nc, subject, body, timeout);
      if (msg.data.length === 0) throw new Transient("empty answer");
      const answer = JSON.parse(Buffer.from(msg.data).toString("utf8")) as {
        error?: ApiError;
        message?: { subject: string; seq: number; time: string; data?: string };
      };
      if (answer.error?.err_code === CODE.noMessage) return null;
      if (answer.error) throw ofApi(answer.error, "Read an object");
      if (answer.message === undefined) throw new Transient("no answer");
      const { subject: of, seq, time, data } = answer.message;
      const bytes = new Uint8Array(Buffer.from(data ?? "", "base64"));
      return { subject: of, sequence: seq, time, data: bytes };
    });
  }

  /**
   * Reads up to `count` messages that match, from a sequence on, in order and without a gap. Any
   * replica may answer; one that is behind answers with fewer.
   */
  readBatch(
    filter: string,
    sequence: number,
    count: number,
    deadline: number,
  ): Promise<Message[]> {
    const body = JSON.stringify({ seq: sequence, next_by_subj: filter, batch: count });
    return retry("Read an object", deadline, () => {
      return this.#collect(body, Math.min(left(deadline), TRY_TIMEOUT));
    });
  }

  #collect(body: string, timeout: number): Promise<Message[]> {
    return new Promise((resolve, reject) => {
      const found: Message[] = [];
      const inbox = createInbox();
      const end = (settle: () => void) => {
        sub.unsubscribe();
        clearTimeout(timer);
        settle();
      };
      // What came before the answers stopped is good; only nothing at all is another try.
      const stop = (why: string) =>
        end(() => found.length > 0 ? resolve(found) : reject(new Transient(why)));
      const sub = subscribe(this.nc, inbox, {
        callback: (error, msg) => {
          if (error) return stop(error.message);
          const { headers, data } = msg;
          const subject = headers?.get("Nats-Subject");
          if (headers && subject) {
            const previous = Number(headers.get("Nats-Last-Sequence"));
            // The first names none; each of the others the one before it.
            if (found.length > 0 && previous !== found.at(-1)!.sequence) return stop("a gap");
            const sequence = Number(headers.get("Nats-Sequence"));
            // Copied: the library's bytes are a view of what came in one read of the socket.
            found.push({ subject, sequence, data: new Uint8Array(data) });
            return;
          }
          const status = headers?.code ?? 0;
          // 204: the end of the batch. 404: there is none.
          if (status === 204 || status === 404) return end(() => resolve(found));
          stop(`status ${status} ${headers?.description ?? ""}`);
        },
      });
      const timer = setTimeout(() => stop("timeout"), timeout);
      try {
        publish(this.nc, `$JS.API.DIRECT.GET.${this.subjects.stream}`, body, { reply: inbox });
      } catch (error) {
        end(() => reject(error));
      }
    });
  }
}
