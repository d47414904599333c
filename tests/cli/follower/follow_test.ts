import assert from "node:assert/strict";
import { openJetStream } from "../../../mod.ts";
import { namesIn, rawBucket } from "../../follower/kit.ts";
import { testServer } from "../../helpers/nats.ts";
import { inDir, person } from "../../helpers/sqlite.ts";
import { cli, cliProcess, documentOf } from "../kit.ts";
import { until } from "../serve/kit.ts";
import { done } from "./kit.ts";

Deno.test("follow --once ends when the file is exact, and with 1 when the bucket lost something", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    await using store = await openJetStream({ servers: server.url });
    for (let i = 0; i < 3; i++) await store.addUser(person(i));
    const db = `${dir}/f.db`;
    const once = ["follow", "--nats-url", server.url, "--db", db, "--once"];
    const state = documentOf(await done(cli([...once, "--json", "--progress", "json"])));
    assert.equal(state.exact, true);
    assert.equal(state.entries, 3);
    assert.equal(namesIn(db).length, 3);
    await store.addUser(person(3));
    const { stdout } = await done(cli(once));
    assert.match(stdout, /^exact at position \d+/);
    assert.equal(namesIn(db).length, 4);
    await using raw = await rawBucket(server.url);
    await raw.api("PURGE", { filter: `$KV.UNIBUS.users.${person(1).signPub}` });
    const { code, stderr } = await cli([...once, "--json"]);
    assert.equal(code, 1);
    assert.match(stderr, /error: Following bucket UNIBUS: .*\nhint: run membershipd repair --from/);
  }));

Deno.test("follow runs until Ctrl-C; a second one reads and takes over; an alarm ends both with 1", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    await using store = await openJetStream({ servers: server.url });
    await store.addUser(person(0));
    const db = `${dir}/f.db`;
    const args = ["follow", "--nats-url", server.url, "--db", db, "--json", "--progress", "json"];
    const first = cliProcess(args);
    await first.seen(/"phase":"follow"/);
    await until(() => namesIn(db).length === 1, "the first load");
    const second = cliProcess(args);
    await store.addUser(person(1));
    await until(() => namesIn(db).length === 2, "the second user");
    first.kill("SIGINT");
    const ended = await first.ended;
    assert.equal(ended.code, 0, ended.stderr);
    assert.match(ended.stdout, /"role":"apply"/);
    await store.addUser(person(2));
    await until(() => namesIn(db).length === 3, "the third user, by the second process");
    const third = cliProcess(args);
    await using raw = await rawBucket(server.url);
    await raw.api("PURGE", { filter: `$KV.UNIBUS.users.${person(1).signPub}` });
    for (const it of [second, third]) {
      const { code, stderr } = await it.ended;
      assert.equal(code, 1, stderr);
      assert.match(stderr, /hint: run membershipd repair --from/);
    }
  }));

Deno.test("follow refuses the file of a primary, and a bucket that is not there", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const url = ["--nats-url", server.url];
    const absent = await cli(["follow", ...url, "--db", `${dir}/f.db`, "--once"]);
    assert.equal(absent.code, 1);
    assert.match(absent.stderr, /No bucket UNIBUS/);
    await (await openJetStream({ servers: server.url })).close();
    await done(cli(["invite", "create", "--create", "--db", `${dir}/p.db`]));
    const primary = await cli(["follow", ...url, "--db", `${dir}/p.db`, "--once"]);
    assert.equal(primary.code, 1);
    assert.match(primary.stderr, /it is the primary of a control plane\nhint: name another file/);
  }));
