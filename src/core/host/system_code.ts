/**
 * What the system calls an error.
 *
 * @module
 */

/** Returns the code of an error or its cause, such as `ENOENT`, or an empty text. */
export function systemCode(error: unknown): string {
  for (let it = error; it instanceof Error; it = it.cause) {
    const { code } = it as { code?: unknown };
    if (typeof code === "string") return code;
  }
  return "";
}
