/** What `doctor` finds about the history. */

import assert from "node:assert/strict";
import { jetstreamManager } from "@nats-io/jetstream";
import { followStore, openJetStream, openSqlite } from "../../mod.ts";
import { connectNats } from "../../src/nats/connection/connect.ts";
import { testServer } from "../helpers/nats.ts";
import { inDir } from "../helpers/sqlite.ts";
import { cli, documentOf } from "../cli/kit.ts";
import { until } from "../cli/serve/kit.ts";
import { makeAgain } from "../follower/watch/kit.ts";
import { change, raw } from "./kit.ts";

const DAY_MS = 24 * 3600 * 1000;

/** The findings of one check. */
async function findings(check: string, ...args: string[]) {
  const { healthy, findings } = documentOf(await cli(["doctor", "--json", ...args]));
  const found = findings.filter((it: { check: string }) => it.check === check);
  return { healthy, found: found as { level: string; message: string }[] };
}

Deno.test("doctor verifies the newest entries of a file", () =>
  inDir(async (dir) => {
    const path = `${dir}/a.db`;
    {
      await using store = openSqlite(path);
      await change(store, 0, 4);
    }
    const sound = await findings("history", "--db", path);
    assert.deepEqual([sound.healthy, sound.found.map((it) => it.level)], [true, ["ok"]]);
    assert.match(sound.found[0]!.message, /^Nothing was changed in the newest 1\d entries/);
    raw(path, (db) => db.exec("UPDATE history SET by = 'eve' WHERE number = 3"));
    const changed = await findings("history", "--db", path);
    assert.deepEqual([changed.healthy, changed.found.map((it) => it.level)], [false, ["problem"]]);
    assert.match(changed.found[0]!.message, /Revision 0\.3 does not continue .* log verify$/);
    {
      await using store = openSqlite(`${dir}/none.db`, { history: false });
      await change(store, 0, 1);
    }
    const none = await findings("history", "--db", `${dir}/none.db`);
    assert.deepEqual([none.healthy, none.found.map((it) => it.message)], [true, [
      "The history is empty",
    ]]);
  }));

Deno.test("doctor tells when the archive of a bucket lags by a day", async () => {
  await using server = await testServer();
  const connection = await connectNats({ servers: server.url });
  try {
    const jsm = await jetstreamManager(connection);
    const args = ["--nats-url", server.url];
    let now = Date.now() - 2 * DAY_MS;
    await using store = await openJetStream({ connection, clock: () => new Date(now) });
    await change(store, 0, 1);
    const archive = async () => (await findings("archive", ...args)).found[0]!;
    await until(async () => (await archive()).level === "ok", "archive", 60_000);
    assert.equal((await findings("history", ...args)).found[0]!.level, "ok");
    const { config } = await jsm.streams.info("UNIBUS_HISTORY");
    // A source of that name, which takes nothing.
    const [source] = config.sources!;
    const idle = { name: source!.name, filter_subject: "nothing" };
    await jsm.streams.update("UNIBUS_HISTORY", { sources: [idle] });
    await change(store, 1, 1);
    const late = await archive();
    assert.equal(late.level, "problem", late.message);
    assert.match(late.message, /UNIBUS_HISTORY is behind: it lacks entries of the history since 2/);
    await jsm.streams.update("UNIBUS_HISTORY", { sources: config.sources! });
    await until(async () => (await archive()).level === "ok", "archive again", 60_000);
    await jsm.streams.update("UNIBUS_HISTORY", { sources: [idle] });
    now = Date.now();
    await change(store, 2, 1);
    assert.equal((await archive()).level, "ok");
  } finally {
    await connection.close();
  }
});

Deno.test("doctor tells when the archive is that of an earlier bucket", async () => {
  await using server = await testServer();
  {
    await using store = await openJetStream({ servers: server.url });
    await change(store, 0, 3);
  }
  const args = ["--nats-url", server.url];
  const archive = async () => (await findings("archive", ...args)).found[0]!;
  // Short of all entries it is no problem either, for a while.
  await until(async () => /has all entries/.test((await archive()).message), "archive", 60_000);
  await makeAgain(server.url);
  const { level, message } = await archive();
  assert.equal(level, "problem");
  assert.match(
    message,
    /UNIBUS_HISTORY has entries up to sequence \d+, the bucket ends at \d+: it was/,
  );
});

Deno.test("doctor tells when the history in a follower's file lags, or lacks entries", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const nats = { servers: server.url };
    const db = `${dir}/f.db`;
    {
      await using store = await openJetStream(nats);
      await change(store, 0, 1);
      await using follower = await followStore({ nats, db });
      await until(() => follower.state().history?.lag === 0, "the history", 60_000);
      await follower.whenExact();
    }
    const args = ["--nats-url", server.url, "--follower", db];
    const of = async () => (await findings("follower", ...args)).found[0]!;
    const sound = await of();
    assert.equal(sound.level, "ok", sound.message);
    const value = (at: Date) =>
      JSON.stringify({ v: 1, g: 0, at: at.toISOString(), by: "library", action: "keys.pruned" });
    const add = (number: number, at: Date) =>
      raw(db, (it) => {
        it.prepare("INSERT OR REPLACE INTO follower_tail VALUES (?, ?)")
          .run(number, new TextEncoder().encode(value(at)));
      });
    // It always lags for a moment.
    add(900_001, new Date());
    assert.equal((await of()).level, "ok");
    add(900_000, new Date(Date.now() - DAY_MS));
    const late = await of();
    assert.equal(late.level, "problem");
    assert.match(late.message, /^The history in .*f\.db lacks 2 entries since 2/);
    raw(db, (it) => {
      it.exec("DELETE FROM follower_tail");
      it.exec(
        "INSERT INTO meta VALUES ('follower_history_gap', 'the entries after 0.1 were pruned')",
      );
    });
    const gap = await of();
    assert.deepEqual([gap.level, /after 0\.1 were pruned/.test(gap.message)], ["warning", true]);
  }));
