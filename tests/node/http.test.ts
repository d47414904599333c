/** The conformance suite through the HTTP client, server and client on Node; run by tests/package/node_test.ts. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { openSqlite } from "@unibus/membership";
import { runConformance } from "../conformance/mod.ts";
import { overHttp } from "../http/store.ts";

runConformance({
  name: "node, http, sqlite",
  test: (name, work) => void test(name, async () => void await work()),
  skip: (name, reason) => void test(name, { skip: reason }, () => {}),
  capabilities: { anyValue: false },
  factory: async () => {
    const dir = await mkdtemp(join(tmpdir(), "unibus-node-"));
    return {
      open: (options) => overHttp(openSqlite(join(dir, "unibus.db"), options), options?.clock),
      dispose: () => rm(dir, { recursive: true }),
    };
  },
});
