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
  /** The file is not as the follower wrote it. */
  | "file";

const HINT = "run membershipd repair --from follower to write back what is missing, " +
  "or membershipd repair --accept to take the stream as it is";

/**
 * Makes the error of an alarm.
 *
 * @param found What was found, a whole sentence without its end
 */
export function alarm(kind: AlarmKind, bucket: string, found: string): StoreError {
  return new StoreError("corrupt", `Following bucket ${bucket}: ${found}`, {
    field: kind,
    hint: HINT,
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
