/** What a server keeps of requests that have been answered. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const CHILD = fileURLToPath(new URL("./leak_child.ts", import.meta.url));
const REQUESTS = 200;

for (const hardened of [false, true]) {
  const name = hardened ? "hardened" : "Deno.serve";
  Deno.test(`${name}: an answer that was sent is not held`, async () => {
    const args = ["run", "-A", "--v8-flags=--expose-gc", CHILD, `${hardened}`, `${REQUESTS}`];
    const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 120_000 });
    // The last ones may still be in somebody's hands.
    assert.ok(Number(stdout) <= 5, `${stdout.trim()} of ${REQUESTS} answers are held`);
  });
}
