/**
 * The response of a server that starts or stops.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import { problemOf, Refusal } from "../pipeline/problem.ts";

/** Returns a refusal of a request that was not executed, so that any may be repeated elsewhere. */
export function notReady(message: string): Response {
  const refusal = new Refusal("unavailable", message, { reason: "not_ready", isShown: true });
  const { status, headers, body } = problemOf(refusal, randomUUID());
  return new Response(JSON.stringify(body), {
    status,
    headers: { ...headers, connection: "close" },
  });
}
