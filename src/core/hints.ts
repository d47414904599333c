/**
 * Hints that several modules use, and those for errors of the operating system.
 *
 * @module
 */

import type { StoreErrorOptions } from "./errors.ts";

/** The hint for a file or directory that its owner or mode does not allow to use. */
export const NO_RIGHTS = "run it as the owner of the file, or use another path";

/** The hint for a disk with no space left. */
export const DISK_FULL = "free disk space, then run it again";

/** The hint for a format that this version does not support yet. */
export const NEWER = "it was created by a newer version: use that version or a later one";

/** The hint for a download with the wrong digest. */
export const GET_AGAIN = "it was changed in transit: download it again";

const OF_FILES: Readonly<Record<string, string>> = {
  EACCES: NO_RIGHTS,
  EPERM: NO_RIGHTS,
  EROFS: NO_RIGHTS,
  ENOSPC: DISK_FULL,
};

const NOT_HERE = {
  field: "host",
  hint: "use an address of this machine, or 0.0.0.0 for all of them",
};

const OF_LISTENING: Readonly<Record<string, StoreErrorOptions>> = {
  EADDRINUSE: {
    field: "port",
    hint: "stop the program that uses the port, or choose another one",
  },
  EACCES: { hint: "ports below 1024 need CAP_NET_BIND_SERVICE; choose a higher one" },
  EADDRNOTAVAIL: NOT_HERE,
  EINVAL: NOT_HERE,
};

/** Returns the hint for an error of the file system, as options of a {@link StoreError}. */
export function fileHint(code: unknown): StoreErrorOptions {
  const hint = OF_FILES[String(code)];
  return hint === undefined ? {} : { hint };
}

/** Returns the hint for an error of listening on a port, as options of a {@link StoreError}. */
export function listenHint(code: unknown): StoreErrorOptions {
  return OF_LISTENING[String(code)] ?? {};
}
