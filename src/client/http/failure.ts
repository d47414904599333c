/**
 * Reads responses, and turns error responses into errors.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import { codeOf } from "../../core/status.ts";
import type { HttpFailure } from "../types.ts";

/** Maximum size of a response that is buffered: the largest page of sealed keys has 57 MB. */
const MOST_BYTES = 64 * 1024 * 1024;

/**
 * Returns the error for a response that a control plane would not send.
 *
 * @param what What was found, such as `not JSON`
 */
export function notAControlPlane(what: string, cause?: unknown): StoreError {
  return new StoreError("unsupported", `The response is not from a control plane: ${what}`, {
    cause,
  });
}

/** Returns the body as text. Its size is limited, so an endless body does not exhaust the memory. */
export async function textOf({ body }: Response): Promise<string> {
  // With a reader: not every browser has `for await` over a stream.
  const reader = body?.getReader();
  const decoder = new TextDecoder();
  let text = "";
  let length = 0;
  for (let chunk = await reader?.read(); chunk && !chunk.done; chunk = await reader!.read()) {
    length += chunk.value.length;
    if (length > MOST_BYTES) {
      reader!.cancel().catch(() => {});
      throw new StoreError("unsupported", `The response has more than ${MOST_BYTES} bytes`);
    }
    text += decoder.decode(chunk.value, { stream: true });
  }
  return text + decoder.decode();
}

/** Returns the body as JSON; `undefined` if it is empty. */
export async function jsonOf(response: Response): Promise<unknown> {
  const text = await textOf(response);
  if (text === "") return undefined;
  try {
    return JSON.parse(text);
  } catch {
    throw notAControlPlane("not JSON", answer(response, {}));
  }
}

/** Returns the error of an error response; `what` names the request, for the message. */
export async function failureOf(response: Response, what: string): Promise<StoreError> {
  const { status } = response;
  const problem = problemOf(await textOf(response));
  const cause = answer(response, problem);
  const field = text(problem.field);
  const message = text(problem.detail) ?? `${what} failed with status ${status}`;
  const hint = text(problem.hint);
  return new StoreError(codeOf(status, problem.code), message, {
    cause,
    ...(field !== null && { field }),
    ...(hint !== null && { hint }),
    ...(isTexts(problem.missing) && { missing: problem.missing }),
  });
}

function answer({ status, headers }: Response, problem: Record<string, unknown>): HttpFailure {
  const reason = text(problem.reason);
  const retryAfter = secondsOf(headers.get("retry-after"));
  const serverTime = headers.get("date");
  return {
    status,
    code: text(problem.code),
    requestId: text(problem.requestId) ?? headers.get("x-request-id"),
    ...(reason !== null && { reason }),
    ...(retryAfter !== null && { retryAfter }),
    ...(serverTime !== null && { serverTime }),
  };
}

/** Returns the server's response if it is the cause of the error, else `null`. */
export function answerOf(error: StoreError): HttpFailure | null {
  const cause = error.cause as Partial<HttpFailure> | undefined;
  return typeof cause?.status === "number" ? cause as HttpFailure : null;
}

function problemOf(body: string): Record<string, unknown> {
  try {
    const problem = JSON.parse(body);
    return typeof problem === "object" && problem !== null ? problem : {};
  } catch {
    return {};
  }
}

function text(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((text) => typeof text === "string");
}

function secondsOf(value: string | null): number | null {
  return value !== null && /^\d{1,6}$/.test(value) ? Number(value) : null;
}
