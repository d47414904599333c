/**
 * Active admins as the stream has them, where the cache does not know.
 *
 * @module
 */

import { isActiveAdmin } from "../../core/rules.ts";
import type { Bucket } from "../log/bucket.ts";
import { scan } from "../log/feed.ts";
import { parseKey } from "../records/keys.ts";
import { decodeUser } from "../records/values.ts";
import { left } from "../log/wire.ts";

/** The keys of active admins, `enough` of them at most; reads all users when there are not so many. */
export async function activeAdmins(
  bucket: Bucket,
  deadline: number,
  enough = Infinity,
): Promise<Set<string>> {
  const found = new Set<string>();
  await scan(bucket, {
    pattern: "users.*",
    patience: left(deadline),
    onEntry: ({ key, data }) => {
      const parsed = parseKey(key);
      if (parsed?.space !== "users") return;
      if (data.length > 0 && isActiveAdmin(decodeUser(key, parsed.signPub, data))) {
        found.add(parsed.signPub);
      } else found.delete(parsed.signPub);
      if (found.size >= enough) return false;
    },
  });
  return found;
}
