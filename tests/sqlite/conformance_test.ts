/**
 * The conformance suite on the SQLite backend, under Deno's test runner and under Node's.
 *
 * @module
 */

import { mkdtemp, rm } from "node:fs/promises";
import { test as nodeTest } from "node:test";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSqlite } from "../../src/sqlite/mod.ts";
import { runConformance } from "../conformance/mod.ts";

runConformance({
  name: "sqlite",
  // Deno's own also sees what a test leaves open.
  test: "Deno" in globalThis ? Deno.test : nodeTest,
  factory: async () => {
    const folder = await mkdtemp(join(tmpdir(), "unibus-conformance-"));
    return {
      open: (options) => Promise.resolve(openSqlite(join(folder, "unibus.db"), options)),
      dispose: () => rm(folder, { recursive: true }),
    };
  },
});
