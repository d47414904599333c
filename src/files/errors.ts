/**
 * Errors of the file system as {@link StoreError}s.
 *
 * @module
 */

import { systemCode } from "../core/host/system_code.ts";
import { StoreError } from "../core/errors.ts";
import { fileHint } from "../core/hints.ts";

const FULL = "the disk is full";
const FORBIDDEN = "this may not be done there (owner, mode or a read-only disk)";

const MEANING: Record<string, string> = {
  ENOSPC: FULL,
  EDQUOT: "the disk quota is used up",
  EFBIG: "the file is larger than the system allows",
  EACCES: FORBIDDEN,
  EPERM: FORBIDDEN,
  EROFS: FORBIDDEN,
  ENOENT: "the directory is not there",
  ENOTDIR: "it is not a directory",
  EMFILE: "too many files are open",
  ENFILE: "too many files are open",
  EIO: "the disk cannot be read or written",
};

/**
 * Turns what the file system threw into `unavailable`; a {@link StoreError} passes as it is.
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
