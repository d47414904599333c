/**
 * Hints that several parts give: what to do after errors of the operating system, and some more.
 *
 * @module
 */

import type { StoreErrorOptions } from "./errors.ts";

/** The hint for a file or directory whose owner or mode is in the way. */
export const NO_RIGHTS = "run it as the user whose file it is, or name another place";

/** The hint for a disk with no space left. */
export const DISK_FULL = "make room on the disk, then run it again";

/** The hint for a format that this version does not know yet. */
export const NEWER = "a newer version made it; use that version or a later one";

/** The hint for a download that is not what was asked for. */
export const GET_AGAIN = "it was changed on its way here: get it again";

const OF_FILES: Readonly<Record<string, string>> = {
  EACCES: NO_RIGHTS,
  EPERM: NO_RIGHTS,
  EROFS: NO_RIGHTS,
  ENOSPC: DISK_FULL,
};

const NOT_HERE = {
  field: "host",
  hint: "it must be an address of this machine; 0.0.0.0 is all of them",
};

const OF_LISTENING: Readonly<Record<string, StoreErrorOptions>> = {
  EADDRINUSE: {
    field: "port",
    hint: "stop the program that listens there, or choose another port",
  },
  EACCES: { hint: "ports below 1024 need CAP_NET_BIND_SERVICE; choose a higher one" },
  EADDRNOTAVAIL: NOT_HERE,
  EINVAL: NOT_HERE,
};

/** What a {@link StoreError} carries whose cause is the file system's error with this code. */
export function fileHint(code: unknown): StoreErrorOptions {
  const hint = OF_FILES[String(code)];
  return hint === undefined ? {} : { hint };
}

/** The same for an error of listening on a port. */
export function listenHint(code: unknown): StoreErrorOptions {
  return OF_LISTENING[String(code)] ?? {};
}
