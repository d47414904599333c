/**
 * The settings of the server on this machine, with those of its node file.
 *
 * @module
 */

import { type NodeState, readNode } from "./node.ts";
import { type Given, resolve, type Resolved } from "./resolve.ts";

/**
 * Resolves the settings; those of a clustered node come before the defaults.
 *
 * @param given Flags, environment variables and file
 * @param state The state in which the node is taken to be. Default: the one in its file
 * @throws {UsageError} There are invalid values, or they contradict the node file
 */
export async function resolveHere(given: Given, state?: NodeState): Promise<Resolved> {
  const { settings } = resolve(given);
  const node = await readNode(settings.db);
  return resolve({ ...given, node: node && { ...node, state: state ?? node.state } });
}
