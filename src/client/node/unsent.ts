/**
 * Recognizes failures before a request was sent.
 *
 * @module
 */

/** Codes of connections that were never made, or to a server without a valid certificate. */
const CODE = /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|UND_ERR_CONNECT_TIMEOUT|.*CERT.*|UNABLE_TO_.*)$/;

/** Whether a failure of `fetch` or of `node:https` means that the server got nothing of the request. */
export function wasUnsent(failure: unknown): boolean {
  for (let error = failure; error instanceof Error; error = error.cause) {
    const { code, syscall } = error as { code?: unknown; syscall?: unknown };
    if (syscall === "connect" || CODE.test(String(code))) return true;
    // Deno's `fetch` says it only in words.
    if (/client error \(Connect\)/.test(error.message)) return true;
  }
  return false;
}
