/**
 * The settings of the server on this machine, with those of its node file.
 *
 * @module
 */

import { readNode } from "./node.ts";
import { type Given, resolve, type Resolved } from "./resolve.ts";

/**
 * Resolves the settings; those of a clustered node come before the defaults.
 *
 * @throws {UsageError} There are invalid values, or they contradict the node file
 */
export async function resolveHere(given: Given): Promise<Resolved> {
  const { settings } = resolve(given);
  const node = await readNode(settings.db);
  return resolve({ ...given, node });
}
