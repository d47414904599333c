/**
 * Reads several messages of a stream in one request, which any replica may answer (ADR-31).
 *
 * The library's `direct.getBatch` and `direct.getLastMessagesFor` hide the sequence that the answer
 * holds for, have no timeout between messages, and leave their subscription open when they are done.
 *
 * @module
 */

import { DirectMsgHeaders } from "@nats-io/jetstream";
import {
  createInbox,
  headers as noHeaders,
  type MsgHdrs,
  type NatsConnection,
} from "@nats-io/transport-node";
import { publish, subscribe, Transient } from "./wire.ts";

/** A request for several messages. */
export type DirectQuery = { multi_last: string[] } | {
  seq: number;
  next_by_subj: string;
  batch: number;
};

/** Takes a message; its data is a view that is valid during the call. What it throws ends the read. */
export type OnMessage = (subject: string, headers: MsgHdrs, data: Uint8Array) => void;

/**
 * Reads messages and returns the headers of the one that ends the answer.
 *
 * @throws {Transient} When no message comes for `timeout` milliseconds
 */
export function directGet(
  nc: NatsConnection,
  stream: string,
  query: DirectQuery,
  timeout: number,
  onMessage: OnMessage,
): Promise<MsgHdrs> {
  return new Promise((resolve, reject) => {
    const inbox = createInbox();
    let heard = false;
    const end = (settle: () => void) => {
      sub.unsubscribe();
      clearTimeout(timer);
      settle();
    };
    const sub = subscribe(nc, inbox, {
      callback: (error, msg) => {
        if (error) return end(() => reject(new Transient(error.message)));
        heard = true;
        const { headers = noHeaders(), data } = msg;
        const subject = headers.get(DirectMsgHeaders.Subject);
        if (subject === "") return end(() => resolve(headers));
        try {
          onMessage(subject, headers, data);
        } catch (thrown) {
          end(() => reject(thrown));
        }
      },
    });
    const look = () => {
      if (!heard) return end(() => reject(new Transient("timeout")));
      heard = false;
      timer = setTimeout(look, timeout);
    };
    let timer = setTimeout(look, timeout);
    try {
      publish(nc, `$JS.API.DIRECT.GET.${stream}`, JSON.stringify(query), { reply: inbox });
    } catch (error) {
      end(() => reject(error));
    }
  });
}

/** Returns the error for an answer that ended in another way than expected. */
export function endedBy({ code, description }: MsgHdrs): Transient {
  return new Transient(`status ${code} ${description}`);
}
