/**
 * Where the control plane of a clustered node is: in its file until `grow` has moved it.
 *
 * @module
 */

import { existsSync } from "node:fs";
import type { Resolved } from "../settings/resolve.ts";

/**
 * Returns the settings with the store that a node serves now: its file while that is the primary of a
 * control plane, else the bucket. The node file says only what the node is meant for.
 *
 * @throws {StoreError} The file cannot be read
 */
export async function placed(resolved: Resolved): Promise<Resolved> {
  const { node, settings } = resolved;
  if (node?.state !== "clustered" || !existsSync(settings.db)) return resolved;
  const { roleOf } = await import("../../src/sqlite/file/role.ts");
  if (roleOf(settings.db).role !== "primary") return resolved;
  return { ...resolved, settings: { ...settings, store: "sqlite", bucket: null, replicas: null } };
}
