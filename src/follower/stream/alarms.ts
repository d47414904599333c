/**
 * What a follower says when the stream is not what it was.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";

/** What was found; the `field` of the error. */
export type AlarmKind =
  /** The stream was deleted, or deleted and made again. */
  | "stream"
  /** The stream ends before the follower's position. */
  | "end"
  /** A sequence holds another message than it did. */
  | "sequence"
  /** The number of messages is not what it should be. */
  | "messages"
  /** A write was acknowledged with a sequence that the stream had used before. */
  | "acknowledged"
  /** The replica of one server is not what the follower and most replicas are. */
  | "replica"
  /** The file is not as the follower wrote it. */
  | "file";

const HINT = "run membershipd repair --from follower to write back what is missing, " +
  "or membershipd repair --accept to take the stream as it is";

/** Nothing is missing in the stream: what one server lost it gets from the others. */
const REPLACE = "stop that nats-server, remove its JetStream directory and start it: " +
  "it gets a new replica from the others";

/**
 * Makes the error of an alarm.
 *
 * @param found What was found, a whole sentence without its end
 */
export function alarm(kind: AlarmKind, bucket: string, found: string): StoreError {
  return new StoreError("corrupt", `Following bucket ${bucket}: ${found}`, {
    field: kind,
    hint: kind === "replica" ? REPLACE : HINT,
  });
}

/** An alarm as text to be stored. */
export function formatAlarm({ field, message, hint }: StoreError): string {
  return JSON.stringify({ version: 1, field, message, hint });
}

/** Reads what {@link formatAlarm} wrote. */
export function parseAlarm(text: string): StoreError {
  const { field, message, hint } = JSON.parse(text);
  return new StoreError("corrupt", message, { field, hint });
}
