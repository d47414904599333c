/**
 * Reads small files whole, such as key files.
 *
 * @module
 */

import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { StoreError } from "../core/errors.ts";

/**
 * Returns the text of a regular file and its mode.
 *
 * @param path The file
 * @param most The size in bytes above which it is not read
 * @throws {StoreError} `invalid`: it is not a regular file, or too large
 */
export async function readSmall(
  path: string,
  most: number,
): Promise<{ text: string; mode: number }> {
  // Opening a pipe without a writer would block forever.
  const file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  try {
    // Of the open file, because the path may name another file a moment later.
    const found = await file.stat();
    if (!found.isFile()) throw new StoreError("invalid", `${path}: it is not a regular file`);
    const buffer = new Uint8Array(most + 1);
    let length = 0;
    for (let read = -1; read !== 0 && length < buffer.length; length += read) {
      read = (await file.read(buffer, length, buffer.length - length, null)).bytesRead;
    }
    if (length > most) throw new StoreError("invalid", `${path}: it is larger than ${most} bytes`);
    return { text: new TextDecoder().decode(buffer.subarray(0, length)), mode: found.mode };
  } finally {
    await file.close();
  }
}
