/**
 * The program's version, from deno.json.
 *
 * @module
 */

import config from "../deno.json" with { type: "json" };

/** The version, such as `0.1.0`. */
export const VERSION: string = config.version;
