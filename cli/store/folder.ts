/**
 * The folder of a store.
 *
 * @module
 */

import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { toStoreError } from "../../src/files/errors.ts";

/** Creates the folder of a file, readable by its owner only. */
export async function makeFolder(path: string): Promise<void> {
  const folder = dirname(path);
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw toStoreError(error, `Creating the directory ${folder}`);
  }
}
