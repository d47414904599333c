/**
 * Answers that are no success, as errors.
 *
 * @module
 */

import { StoreError, type StoreErrorCode } from "../../core/errors.ts";
import { STATUS } from "../../http/pipeline/problem.ts";
import type { HttpFailure } from "../types.ts";

/** Codes of answers that do not say one: those without a body, and those of servers in between. */
const BY_STATUS: Readonly<Record<number, StoreErrorCode>> = {
  400: "invalid",
  401: "unauthenticated",
  403: "forbidden",
  404: "not_found",
  409: "conflict",
  413: "too_large",
  429: "rate_limited",
};

/** Most bytes of an answer that is read whole: the largest page of sealed keys has 57 MB. */
const MOST_BYTES = 64 * 1024 * 1024;

/** An answer as text. One that does not end ends here, not when memory does. */
export async function textOf({ body }: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let length = 0;
  for await (const chunk of body ?? []) {
    length += chunk.length;
    if (length > MOST_BYTES) {
      throw new StoreError("unsupported", `The answer has more than ${MOST_BYTES} bytes`);
    }
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/** Reads an answer that is no success; `what` is the request, for the message. */
export async function failureOf(response: Response, what: string): Promise<StoreError> {
  const { status, headers } = response;
  const problem = problemOf(await textOf(response));
  const reason = text(problem.reason);
  const retryAfter = secondsOf(headers.get("retry-after"));
  const serverTime = headers.get("date");
  const cause: HttpFailure = {
    status,
    requestId: text(problem.requestId) ?? headers.get("x-request-id"),
    ...(reason !== null && { reason }),
    ...(retryAfter !== null && { retryAfter }),
    ...(serverTime !== null && { serverTime }),
  };
  const field = text(problem.field);
  const message = text(problem.detail) ?? `${what} was answered with status ${status}`;
  return new StoreError(
    codeOf(status, problem.code),
    message,
    field === null ? { cause } : { cause, field },
  );
}

/** What the server answered, where the error is its answer. */
export function answerOf(error: StoreError): HttpFailure | null {
  const cause = error.cause as Partial<HttpFailure> | undefined;
  return typeof cause?.status === "number" ? cause as HttpFailure : null;
}

function problemOf(body: string): Record<string, unknown> {
  try {
    const it = JSON.parse(body);
    return typeof it === "object" && it !== null ? it : {};
  } catch {
    return {};
  }
}

function codeOf(status: number, code: unknown): StoreErrorCode {
  if (typeof code === "string" && Object.hasOwn(STATUS, code)) return code as StoreErrorCode;
  // A redirect, or what nobody of ours answers: whatever is there, it is no control plane.
  return BY_STATUS[status] ?? (status >= 500 ? "unavailable" : "unsupported");
}

function text(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

function secondsOf(value: string | null): number | null {
  return value !== null && /^\d{1,6}$/.test(value) ? Number(value) : null;
}
