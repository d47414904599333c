/**
 * A live move to a file whose process is killed: at each step one side has the control plane, with all
 * that was acknowledged, and the next start finishes the move or calls it off.
 *
 * @module
 */

import assert from "node:assert/strict";
import { copyFileSync, existsSync, readdirSync, renameSync } from "node:fs";
import { callOffShrink, finishShrink, openSqlite, shrinkStore } from "../../../mod.ts";
import { flip, openStill } from "../../../src/follower/flip.ts";
import { freezeWriters } from "../../../src/jetstream/freeze.ts";
import { type Marker, readMarker, writeMarker } from "../../../src/jetstream/log/marker.ts";
import { rawBucket, rowsOf } from "../../follower/kit.ts";
import { interposed } from "../../helpers/interposed.ts";
import { type TestServer, testServer } from "../../helpers/nats.ts";
import { person } from "../../helpers/sqlite.ts";
import { checkAdded } from "../kit.ts";
import { bucketOf, failure, open, type Place, roleIn, whoServes, withPlace } from "./shrink_kit.ts";

let server: TestServer;
Deno.test.beforeAll(async () => void (server = await testServer()));
Deno.test.afterAll(async () => await server[Symbol.asyncDispose]());

const soon = () => Date.now() + 60_000;

/** Runs a process that moves a place until it is killed; returns the users that were acknowledged. */
async function killedAt(place: Place, phase: string, ms = 0): Promise<string[]> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--no-check",
      "--config",
      new URL("../../../deno.json", import.meta.url).pathname,
      new URL("./shrink_child.ts", import.meta.url).pathname,
      JSON.stringify(place),
      phase,
      String(ms),
    ],
    stdout: "piped",
    stderr: "piped",
  });
  const { stdout, stderr, signal } = await child.output();
  const text = new TextDecoder().decode(stderr);
  assert.ok(signal === "SIGKILL" || ms > 0, `it was not killed: ${text}`);
  // The last line may have been cut.
  return new TextDecoder().decode(stdout).split("\n").slice(0, -1).filter((it) => it.length === 64);
}

/** Fills the bucket of a place a little. */
async function fill(place: Place): Promise<void> {
  await using it = await open(place);
  await it.store.addUser({ ...person("ada"), role: "admin" });
  await it.store.addUser(person("bob"));
  await it.store.revokeUser(person("bob").signPub);
}

/** Starts again as a node does, and requires that what was acknowledged is there. */
async function startAgain(place: Place, acknowledged: string[]): Promise<string> {
  let thawed = 0;
  const blobs = { thaw: () => Promise.resolve(void thawed++) };
  const { state } = await finishShrink({ ...place, node: "n1", blobs });
  assert.equal(thawed, Number(state === "called off"));
  const side = await whoServes(place, acknowledged);
  assert.equal(side, state === "here" ? "file" : "bucket");
  if (side === "bucket") {
    // It can be done now.
    await using it = await open(place);
    await shrinkStore(it.store, { db: place.db, node: "n1" });
  }
  assert.equal(await whoServes(place, acknowledged), "file");
  assert.equal(roleIn(place.db)!.generation, 1);
  assert.equal(existsSync(place.follower), false);
  await using store = openSqlite(place.db, { create: false });
  assert.equal(await store.isAuthorized(person("ada").signPub), true);
  assert.equal(await store.isAuthorized(person("bob").signPub), false);
  const { signPub } = person("ada");
  const entries = await checkAdded(store, [...acknowledged, signPub]);
  assert.deepEqual(
    entries.flatMap(({ action, revision }) => action === "store.moved" ? [revision] : []),
    ["1.1"],
  );
  // Again, it changes nothing.
  assert.equal((await finishShrink({ ...place, node: "n1" })).state, "here");
  return state;
}

const STEPS = {
  check: "none",
  begin: "none",
  freeze: "called off",
  follow: "called off",
  mark: "called off",
  finish: "here",
  flip: "here",
  rename: "here",
  open: "here",
  done: "here",
};
for (const [phase, expected] of Object.entries(STEPS)) {
  Deno.test(`killed before the step "${phase}" of a move to a file: ${expected}, and nothing is lost`, () =>
    withPlace(server.url, async (place) => {
      await fill(place);
      const acknowledged = await killedAt(place, phase);
      assert.ok(acknowledged.length > 0 || phase === "check");
      assert.equal(await startAgain(place, acknowledged), expected);
    }));
}

Deno.test("killed when the file is the primary, in its log only: the next start puts it in place", () =>
  withPlace(server.url, async (place) => {
    await fill(place);
    const acknowledged = await killedAt(place, "flip");
    const { follower } = place;
    await using raw = await rawBucket(server.url, place.nats.bucket);
    const { generation, journey, source } = (await readMarker(raw.bucket, soon())).marker!;
    {
      using file = openStill(follower);
      const db = new Proxy(file.db, {
        get(target, name) {
          const found = Reflect.get(target, name);
          if (typeof found !== "function") return found;
          return (...given: unknown[]) => {
            assert.doesNotMatch(String(given[0]), /wal_checkpoint/, "killed");
            return found.apply(target, given);
          };
        },
      });
      const becomes = {
        generation: generation!,
        journey: journey!,
        storeId: source!,
        by: "server",
      };
      assert.throws(() => flip({ ...file, db }, becomes), /killed/);
      for (const it of ["", "-wal"]) copyFileSync(follower + it, `${follower}.killed${it}`);
    }
    for (const it of ["", "-wal"]) renameSync(`${follower}.killed${it}`, follower + it);
    assert.equal(await startAgain(place, acknowledged), "here");
    assert.deepEqual(readdirSync(place.dir).filter((it) => it.startsWith("follower.db")), []);
  }));

const MOMENTS = Number(Deno.env.get("SHRINK_KILLS") ?? 4);
Deno.test(`killed at ${MOMENTS} random moments of a move to a file, nothing is lost`, async () => {
  for (let i = 0; i < MOMENTS; i++) {
    await withPlace(server.url, async (place) => {
      await fill(place);
      const ms = 1 + Math.floor(Math.random() * 200);
      await startAgain(place, await killedAt(place, "begin", ms));
    });
  }
});

Deno.test("a mark that is stored while a start calls the move off counts: the start finishes it", () =>
  withPlace(server.url, async (place) => {
    await fill(place);
    const acknowledged = await killedAt(place, "mark");
    await using raw = await rawBucket(server.url, place.nats.bucket);
    const { marker, revision } = await readMarker(raw.bucket, soon());
    const { journey, at } = marker!.shrink!;
    const [{ position, digest }] = rowsOf(place.follower, "follower") as [
      { position: number; digest: string },
    ];
    const moved: Marker = {
      ...{ state: "in_progress", by: "journey", source: marker!.source, startedAt: at },
      ...{ generation: 1, journey, moved: { node: "n1", db: place.db, at, position, digest } },
    };
    const connection = interposed(raw.bucket.nc, (text) => text.includes('"complete"'), {
      before: () => writeMarker(raw.bucket, moved, revision, soon()),
    });
    const nats = { connection, bucket: place.nats.bucket };
    assert.equal((await finishShrink({ ...place, nats, node: "n1" })).state, "here");
    assert.equal(await startAgain(place, acknowledged), "here");
  }));

Deno.test("a move that was killed with all writers stopped is called off from another node", () =>
  withPlace(server.url, async (place) => {
    await fill(place);
    await killedAt(place, "mark");
    assert.equal((await bucketOf(place)).takesWrites, false);
    assert.equal((await finishShrink({ ...place, node: "n2" })).state, "none");
    assert.equal(await callOffShrink(place.nats), true);
    assert.equal((await bucketOf(place)).takesWrites, true);
    // As by one that was killed between its two steps.
    await using raw = await rawBucket(server.url, place.nats.bucket);
    await freezeWriters(raw.bucket, soon());
    assert.equal(await callOffShrink(place.nats), false);
    assert.equal((await bucketOf(place)).takesWrites, true);
    await killedAt(place, "finish");
    await assert.rejects(callOffShrink(place.nats), failure("refused", "moved"));
    // Another node is not the one.
    const other = { ...place, db: `${place.dir}/other.db`, follower: `${place.dir}/f2.db` };
    assert.equal((await finishShrink({ ...other, node: "n2" })).state, "elsewhere");
    assert.equal((await finishShrink({ ...place, node: "n1" })).state, "here");
  }));
