/**
 * Whether others may write the database.
 *
 * @module
 */

import { stat } from "node:fs/promises";
import process from "node:process";
import { flagOf, type Settings } from "../settings/settings.ts";

/** What is wrong with the database's file; who writes it makes users and admins. */
export async function databaseProblems({ store, db }: Settings): Promise<string[]> {
  if (store !== "sqlite" || process.platform === "win32") return [];
  // Beside it lies what is not yet in it. What is not there is made, or said when it is opened.
  const paths = [db, `${db}-wal`, `${db}-shm`];
  const modes = await Promise.all(paths.map((it) => stat(it).then(({ mode }) => mode, () => 0)));
  return paths.flatMap((path, i) => {
    if ((modes[i]! & 0o022) === 0) return [];
    const found = (modes[i]! & 0o777).toString(8).padStart(4, "0");
    return [
      `${
        flagOf("db")
      } ${path} has mode ${found}, so other users of this machine may change who is ` +
      `an admin; chmod go-w ${path}, and check membershipd user list`,
    ];
  });
}
