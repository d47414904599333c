/**
 * Checks that other users cannot write the database.
 *
 * @module
 */

import { stat } from "node:fs/promises";
import process from "node:process";
import { flagOf, type Settings } from "../../settings/settings.ts";

/**
 * Returns problems with the permissions of the database: anyone who can write it can create admins.
 */
export async function databaseProblems({ store, db }: Settings): Promise<string[]> {
  if (store !== "sqlite" || process.platform === "win32") return [];
  // The -wal file contains changes too. Missing files are created, or reported when they are
  // opened.
  const paths = [db, `${db}-wal`, `${db}-shm`];
  const modes = await Promise.all(paths.map((it) => stat(it).then(({ mode }) => mode, () => 0)));
  return paths.flatMap((path, i) => {
    if ((modes[i]! & 0o022) === 0) return [];
    const found = (modes[i]! & 0o777).toString(8).padStart(4, "0");
    return [
      `${
        flagOf("db")
      } ${path} has mode ${found}, so other users of this machine can make themselves ` +
      `admins; chmod go-w ${path}, and check membershipd user list`,
    ];
  });
}
