/**
 * A short run of kills during live moves of the library. The long form is `deno task test:moves`.
 *
 * @module
 */

import assert from "node:assert/strict";
import process from "node:process";
import { run } from "./run.ts";

const CLUSTER = Boolean(process.env.UNIBUS_LONG || process.env.UNIBUS_CLUSTER);

Deno.test({
  name: "there and back, then five kills on the way: one side serves, with all that was answered",
  // Three servers and a process that is started again after each kill.
  ignore: !CLUSTER,
  fn: async () => {
    const said: string[] = [];
    const report = await run({
      ...{
        kills: 5,
        rounds: 1,
        seed: String(Math.floor(Math.random() * 1e6)),
        kinds: [[1, "kill"]],
      },
      log: (line) => said.push(line),
    });
    assert.deepEqual([report.hits, report.rounds], [5, 1], said.join("\n"));
    assert.ok(report.writes > 0 && report.looks > 0, said.join("\n"));
  },
});
