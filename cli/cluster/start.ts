/**
 * The command that starts the server of a node.
 *
 * @module
 */

import { join } from "node:path";
import { DEFAULT_DB } from "../command.ts";

/**
 * Returns the command line.
 *
 * @param db The node's SQLite file
 * @param config The file with more of its settings, if there is one
 */
export function startLine(db: string, config?: string): string {
  return [
    "membershipd serve",
    ...join(db) === join(DEFAULT_DB) ? [] : [`--db ${db}`],
    ...config === undefined ? [] : [`--config ${config}`],
  ].join(" ");
}
