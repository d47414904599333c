/**
 * Checks that other users cannot write the database.
 *
 * @module
 */

import { stat } from "node:fs/promises";
import process from "node:process";
import { flagOf, followerPath, type Settings } from "../../settings/settings.ts";

/**
 * Returns problems with the permissions of the database: anyone who can write it can create admins,
 * in a follower by a repair or a promotion.
 */
export async function databaseProblems(settings: Settings): Promise<string[]> {
  const key = settings.store === "sqlite" ? "db" : "follower";
  const file = key === "db" ? settings.db : followerPath(settings);
  if (file === null || process.platform === "win32") return [];
  // The -wal file contains changes too. Missing files are created, or reported when they are
  // opened.
  const paths = [file, `${file}-wal`, `${file}-shm`];
  const modes = await Promise.all(paths.map((it) => stat(it).then(({ mode }) => mode, () => 0)));
  return paths.flatMap((path, i) => {
    if ((modes[i]! & 0o022) === 0) return [];
    const found = (modes[i]! & 0o777).toString(8).padStart(4, "0");
    return [
      `${
        flagOf(key)
      } ${path} has mode ${found}, so other users of this machine can make themselves ` +
      `admins; chmod go-w ${path}, and check membershipd user list`,
    ];
  });
}
