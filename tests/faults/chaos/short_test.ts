/**
 * A short run of chaos: three faults, every checker. The long form is `deno task test:chaos`.
 *
 * @module
 */

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { show } from "./judge/checks.ts";
import { run } from "./run.ts";
import { storeArena } from "./arena/store_arena.ts";

const name =
  "three nodes under load keep every promise while one is killed, one pauses and the leader is cut off";

Deno.test(name, async () => {
  const directory = await mkdtemp(join(tmpdir(), "unibus-chaos-short-"));
  const seed = Math.floor(Math.random() * 1e6);
  const said: string[] = [`seed ${seed}`];
  const faults = ["partition_leader", "kill", "pause_leader"];
  const options = {
    seed,
    arena: () => storeArena(faults, (line) => said.push(line)),
    duration: 1,
    round: 1,
    faults,
    inOrder: true,
    directory,
    // Other tests take the processor at the same time.
    late: 15_000,
    log: (line: string) => said.push(line),
  };
  let good = false;
  try {
    for await (const { violations, looked, file } of run(options)) {
      said.push(JSON.stringify(looked), ...violations.map(show), `history: ${file}`);
      assert.equal(violations.length, 0, said.join("\n"));
      for (
        const what of [
          "yes",
          "lastWrites",
          "cuts",
          "askedWhileCut",
          "audits",
          "followers",
          "promotedWrites",
          "entries",
          "explained",
          "followed",
        ]
      ) {
        assert.ok(looked[what]! > 0, `${what}:\n${said.join("\n")}`);
      }
      good = true;
    }
  } finally {
    // What shows a failure stays.
    if (good) await rm(directory, { recursive: true });
  }
});
