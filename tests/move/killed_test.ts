/**
 * The move under faults: killed at random moments, the server stopped half-way.
 * `UNIBUS_MOVE_KILLS` sets the number of kills (300 in the long form), `UNIBUS_SEED` the seed.
 */

import assert from "node:assert/strict";
import { migrateSqliteToKv, openJetStream, StoreError } from "../../mod.ts";
import {
  childArgs,
  isStopped,
  kill,
  kvSnapshot,
  type Place,
  sqliteSnapshot,
  withPlace,
} from "./kit.ts";
import { testServer } from "../helpers/nats.ts";
import { writeDataset } from "../tools/dataset.ts";
import { Random } from "../tools/random.ts";

const KILLS = Number(Deno.env.get("UNIBUS_MOVE_KILLS") ?? 10);
const SEED = Deno.env.get("UNIBUS_SEED") ?? String(Date.now());
const RECORDS = 20_000;

function child(db: string, nats: Place["nats"], options: object = {}): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: childArgs(db, nats, options),
    stdout: "null",
    stderr: "null",
  }).spawn();
}

Deno.test(`killed at ${KILLS} random moments and run again: always parity (UNIBUS_SEED=${SEED})`, async () => {
  await using server = await testServer();
  await withPlace(server.url, async ({ db, nats }) => {
    writeDataset(db, { records: RECORDS });
    const expected = await sqliteSnapshot(db);
    const random = new Random(SEED);
    // How long a whole run takes here and now, so that the kills fall all over it.
    const begun = performance.now();
    assert.ok((await child(db, { ...nats, bucket: `${nats.bucket}_whole` }).status).success);
    const whole = performance.now() - begun;
    const found: Record<string, number> = {};
    for (let i = 0; i < KILLS; i++) {
      const target = { ...nats, bucket: `${nats.bucket}_${i}` };
      // The first one in its copy, whatever the chance of the others to meet that is.
      const process = child(db, target, { stops: i === 0 });
      if (i === 0) {
        await isStopped(process);
        await kill(process);
      } else {
        const timer = setTimeout(() => kill(process), random.fraction() * whole * 1.1);
        await process.status;
        clearTimeout(timer);
      }
      const report = await migrateSqliteToKv({ db, nats: target, backup: false });
      found[report.target] = (found[report.target] ?? 0) + 1;
      assert.equal(await kvSnapshot(target), expected, `kill ${i}, seed ${SEED}`);
    }
    console.log(`after ${KILLS} kills the target was`, found);
    assert.ok((found.resumed ?? 0) > 0, "the kill in the copy left something to resume");
  });
});

Deno.test("the server stopped in mid-copy and started again: the move goes on and completes", async () => {
  await using server = await testServer();
  await withPlace(server.url, async ({ db, nats }) => {
    writeDataset(db, { records: 30_000 });
    let restarted: Promise<unknown> | null = null;
    await migrateSqliteToKv({
      db,
      nats,
      backup: false,
      onProgress: ({ phase, done }) => {
        if (phase === "copy" && done > 0) restarted ??= server.stop().then(() => server.restart());
      },
    });
    assert.notEqual(restarted, null);
    await restarted;
    assert.equal(await kvSnapshot(nats), await sqliteSnapshot(db));
  });
});

Deno.test("the server killed in mid-copy and gone: unavailable or aborted, and the next run completes", async () => {
  await using server = await testServer();
  await withPlace(server.url, async ({ db, nats }) => {
    writeDataset(db, { records: 30_000 });
    const controller = new AbortController();
    const run = migrateSqliteToKv({
      db,
      nats,
      backup: false,
      signal: controller.signal,
      onProgress: ({ phase, done }) => {
        if (phase !== "copy" || done === 0) return;
        server.kill("SIGKILL");
        setTimeout(() => controller.abort(), 500);
      },
    });
    await assert.rejects(
      run,
      (error) => error instanceof StoreError && ["aborted", "unavailable"].includes(error.code),
    );
    await server.exited;
    await server.restart();
    await assert.rejects(openJetStream(nats), { code: "in_progress" });
    assert.equal((await migrateSqliteToKv({ db, nats, backup: false })).target, "resumed");
    assert.equal(await kvSnapshot(nats), await sqliteSnapshot(db));
  });
});
