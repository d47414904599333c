/**
 * A short run of damages below a control plane with a follower. The long form is `deno task test:bits`.
 *
 * @module
 */

import assert from "node:assert/strict";
import { run, show } from "./run.ts";

Deno.test("no damage of a lone server's disk lets a revoked user in, and none is missed", async () => {
  const folder = await Deno.makeTempDir({ prefix: "unibus-bits-short-" });
  const seed = String(Math.floor(Math.random() * 1e6));
  const said: string[] = [];
  try {
    const results = await run({
      folder,
      seed,
      counts: {
        flip: 3,
        flip_no_index: 4,
        tail: 1,
        put_back: 2,
        made_again: 2,
        live_flip: 2,
        live_put_back: 2,
        file: 10,
      },
      users: [300],
      atOnce: 2,
      log: (line) => said.push(line),
    });
    for (const { letIn, noticed } of results) {
      assert.ok(letIn === 0 && noticed !== "MISSED", [...said, show(results)].join("\n"));
    }
    assert.ok(results.some(({ noticed }) => noticed === "before"), said.join("\n"));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
