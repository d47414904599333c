/**
 * Processes killed with SIGKILL at random moments of multi-record operations. `UNIBUS_CRASH_KILLS`
 * sets how many kills each form makes, `UNIBUS_CRASH_SEED` where its random plans begin.
 *
 * @module
 */

import assert from "node:assert/strict";
import { openJetStream } from "../../../src/jetstream/mod.ts";
import { openSqlite } from "../../../src/sqlite/mod.ts";
import { type CrashReport, type CrashTarget, killRounds } from "./rounds.ts";
import { testServer } from "../../helpers/nats.ts";

const given = Deno.env.get("UNIBUS_CRASH_SEED");
const seed = given === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(given);

async function run(name: string, short: number, it: Omit<CrashTarget, "folder">): Promise<void> {
  const kills = Number(Deno.env.get("UNIBUS_CRASH_KILLS") ?? short);
  const folder = await Deno.makeTempDir({ prefix: "unibus-crash-" });
  try {
    const report: CrashReport = await killRounds({ ...it, folder }, kills, seed);
    console.log(`${name}, seed ${seed}: ${JSON.stringify(report)}`);
    assert.ok(report.kills >= kills);
    assert.ok(report.done + report.undone > 0, "some kill met an operation under way");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("sqlite keeps what it answered, whole, when its process is killed", async () => {
  const folder = await Deno.makeTempDir({ prefix: "unibus-crash-" });
  const target = `${folder}/unibus.db`;
  try {
    await run("sqlite", 12, {
      backend: "sqlite",
      target,
      open: () => Promise.resolve(openSqlite(target)),
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("jetstream keeps what it answered, whole, when its client is killed", async () => {
  await using server = await testServer();
  await run("jetstream, client killed", 12, {
    backend: "jetstream",
    target: `${server.url} crash`,
    open: () => openJetStream({ servers: server.url, bucket: "crash" }),
  });
});

Deno.test("jetstream keeps what it answered, whole, when its server is killed", async () => {
  await using server = await testServer();
  await run("jetstream, server killed", 6, {
    backend: "jetstream",
    target: `${server.url} crash`,
    open: () => openJetStream({ servers: server.url, bucket: "crash" }),
    kill: async () => {
      server.kill("SIGKILL");
      await server.exited;
      await server.restart();
    },
  });
});
