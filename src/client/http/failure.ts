/**
 * Answers that are no success, as errors.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import { codeOf } from "../../core/status.ts";
import type { HttpFailure } from "../types.ts";

/** Most bytes of an answer that is read whole: the largest page of sealed keys has 57 MB. */
const MOST_BYTES = 64 * 1024 * 1024;

/** An answer as text. One that does not end ends here, not when memory does. */
export async function textOf({ body }: Response): Promise<string> {
  // By its reader: not every browser has `for await` over a stream.
  const reader = body?.getReader();
  const decoder = new TextDecoder();
  let text = "";
  let length = 0;
  for (let it = await reader?.read(); it && !it.done; it = await reader!.read()) {
    length += it.value.length;
    if (length > MOST_BYTES) {
      reader!.cancel().catch(() => {});
      throw new StoreError("unsupported", `The answer has more than ${MOST_BYTES} bytes`);
    }
    text += decoder.decode(it.value, { stream: true });
  }
  return text + decoder.decode();
}

/** An answer as JSON; undefined where it is empty. */
export async function jsonOf(response: Response): Promise<unknown> {
  const text = await textOf(response);
  if (text === "") return undefined;
  try {
    return JSON.parse(text);
  } catch {
    throw new StoreError("unsupported", "The answer is not of a control plane: it is no JSON", {
      cause: answer(response, {}),
    });
  }
}

/** Reads an answer that is no success; `what` is the request, for the message. */
export async function failureOf(response: Response, what: string): Promise<StoreError> {
  const { status } = response;
  const problem = problemOf(await textOf(response));
  const cause = answer(response, problem);
  const field = text(problem.field);
  const message = text(problem.detail) ?? `${what} was answered with status ${status}`;
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

function text(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((text) => typeof text === "string");
}

function secondsOf(value: string | null): number | null {
  return value !== null && /^\d{1,6}$/.test(value) ? Number(value) : null;
}
