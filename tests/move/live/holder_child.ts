/**
 * A program that has a SQLite file open until its input ends: `holder_child.ts FILE SIGN reading|open`.
 * Makes the file SIGN when it has. With `reading` a transaction is open, else only the file is.
 */

import { writeFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";

const [path, sign, how] = Deno.args as [string, string, string];
const db = new DatabaseSync(path, { readOnly: true });
db.exec("PRAGMA busy_timeout = 10000");
if (how === "reading") db.exec("BEGIN");
db.prepare("SELECT count(*) FROM users").get();
writeFileSync(sign, "");
await Deno.stdin.read(new Uint8Array(1));
db.close();
