/**
 * What had several definitions, which drifted apart, has one.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** Each is written this often at most, in `src` and `cli`. */
const ONCE: Record<string, RegExp> = {
  "a list of the modes of authentication": /"off"[,| ]+"soft"[,| ]+"enforce"/,
  "whether a host is loopback": /function isLoopback\(|\^.{0,14}127|startsWith\("127\./,
  "the code of a system error": /function (codeOf|systemCode)\(error/,
  "the code of a JetStream error": /cause instanceof JetStreamApiError/,
  "syncing a directory": /function syncDirectory\(/,
  "writing beside a file's place and renaming": /\.tmp`\)/,
  "watching a connection's status": /stop\?: \(\) => void \}\)\.stop\?\.\(\)/,
  "a promise against a timer": /setTimeout\([^]{0,250}Promise\.race\(\[/,
  "a promise against a signal": /signal\.reason\)[^]{0,350}Promise\.race\(\[/,
};

Deno.test("rules and tools that had several definitions have one", async () => {
  const texts: [string, string][] = [];
  for (const part of ["src", "cli"]) {
    for (const path of await readdir(join(ROOT, part), { recursive: true })) {
      if (!/\.tsx?$/.test(path) || path.endsWith("web_assets.ts")) continue;
      texts.push([join(part, path), await readFile(join(ROOT, part, path), "utf8")]);
    }
  }
  for (const [what, pattern] of Object.entries(ONCE)) {
    const found = texts.flatMap(([path, text]) => text.match(pattern) === null ? [] : [path]);
    assert.ok(found.length > 0, `Nothing matches ${what}`);
    assert.equal(found.length, 1, `${what}: ${found.join(", ")}`);
  }
});
