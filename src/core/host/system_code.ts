/**
 * What the system calls an error.
 *
 * @module
 */

/** The code of an error or of what caused it, such as `ENOENT`; empty when there is none. */
export function systemCode(error: unknown): string {
  for (let it = error; it instanceof Error; it = it.cause) {
    const { code } = it as { code?: unknown };
    if (typeof code === "string") return code;
  }
  return "";
}
