/**
 * A short run of hits on machines of a control plane on its way to three nodes. The long form is
 * `deno task test:journey`.
 *
 * @module
 */

import assert from "node:assert/strict";
import process from "node:process";
import { run } from "./run.ts";

const CLUSTER = Boolean(process.env.UNIBUS_LONG || process.env.UNIBUS_CLUSTER);

Deno.test({
  name: "n1 and its nats-server are killed on the way to three nodes",
  // Three machines that are killed take a minute, and more on a busy machine.
  ignore: !CLUSTER,
  fn: async () => {
    const dir = await Deno.makeTempDir({ prefix: "unibus-journey-short-" });
    const seed = String(Math.floor(Math.random() * 1e6));
    const said: string[] = [];
    try {
      const kill = { kind: "kill", delay: 20 } as const;
      const report = await run({
        ...{ dir, seed, kills: 2, rounds: 0, users: 500, rate: 15 },
        hits: [
          { ...kill, direction: "grow", target: "n1", phase: "copy" },
          { ...kill, direction: "grow", target: "n1 nats", phase: "copy" },
        ],
        log: (line) => said.push(line),
      });
      assert.ok(report.met > 0, said.join("\n"));
      assert.ok(report.looks > 0, "both sides were looked at");
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  },
});
