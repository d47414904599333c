/**
 * Converts file system errors to {@link StoreError}s.
 *
 * @module
 */

import { systemCode } from "../core/host/system_code.ts";
import { StoreError } from "../core/errors.ts";
import { fileHint } from "../core/hints.ts";

const FULL = "the disk is full";
const FORBIDDEN = "permission denied, or a read-only disk";

const MEANING: Record<string, string> = {
  ENOSPC: FULL,
  EDQUOT: "the disk quota is exceeded",
  EFBIG: "the file is too large",
  EACCES: FORBIDDEN,
  EPERM: FORBIDDEN,
  EROFS: FORBIDDEN,
  ENOENT: "the directory does not exist",
  ENOTDIR: "it is not a directory",
  EMFILE: "too many files are open",
  ENFILE: "too many files are open",
  EIO: "disk I/O error",
};

/**
 * Converts an error of the file system to `unavailable`; a {@link StoreError} stays unchanged.
 *
 * @param attempt What was attempted, with the path
 */
export function toStoreError(error: unknown, attempt: string): StoreError {
  if (error instanceof StoreError) return error;
  const detail = error instanceof Error ? error.message : String(error);
  const meaning = MEANING[systemCode(error)];
  const text = meaning === undefined ? detail : `${meaning} (${detail})`;
  return new StoreError("unavailable", `${attempt}: ${text}`, {
    cause: error,
    ...fileHint(systemCode(error)),
  });
}
