import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readdir } from "node:fs/promises";
import { openBucket } from "../../../src/jetstream/mod.ts";
import { readMarker, writeMarker } from "../../../src/jetstream/log/marker.ts";
import { loadServiceKeys } from "../../../src/nats/connection/service_keys.ts";
import { cliProcess, documentOf } from "../kit.ts";
import { freePorts, testServer } from "../../helpers/nats.ts";
import { daemon, isAlive, isReady, launch, readyz, until } from "./kit.ts";
import { inDir, person } from "../../helpers/sqlite.ts";
import { writeDataset } from "../../tools/dataset.ts";

const JETSTREAM = ["--store", "jetstream"];

/** Adds an admin through the command line, with these flags for the store. */
async function addAdmin(n: number, flags: string[]): Promise<string> {
  const { signPub, kexPub } = person(n);
  const keys = ["--sign-pub", signPub, "--kex-pub", kexPub, "--handle", `p${n}`, "--admin"];
  const { code, stderr } = await cliProcess(["user", "add", ...keys, ...flags]).ended;
  assert.equal(code, 0, stderr);
  return signPub;
}

/** The flags that the server's hint shows behind `--identity me.json`. */
function flagsOf(hint: string): string[] {
  return hint.split(" --identity me.json ")[1]!.split(" ");
}

Deno.test("--store jetstream: the store is in the node's own NATS, kept over restarts and kills", () =>
  inDir(async (dir) => {
    let admin: string;
    const blob = new Uint8Array(randomBytes(300_000));
    let id: string;
    {
      await using server = await daemon(dir, JETSTREAM);
      await isReady(server.http);
      const { checks } = (await readyz(server.http))!;
      for (const name of ["replicas", "cache", "nats"]) {
        assert.equal(checks.find((it) => it.name === name)?.ok, true, JSON.stringify(checks));
      }
      const { hint } = await server.event("no_admin");
      admin = await addAdmin(1, flagsOf(hint));
      // The server hears of it.
      await until(async () => {
        const response = await fetch(`${server.http}/v1/users/${admin}`);
        await response.body?.cancel();
        return response.status === 200;
      }, "user");
      const put = await fetch(`${server.http}/v1/blobs`, { method: "PUT", body: blob });
      assert.equal(put.status, 201, await put.clone().text());
      id = (await put.json()).id;
      const { code, stderr } = await server.stop();
      assert.equal(code, 0, stderr);
      assert.doesNotMatch(stderr, /end_failed/);
    }
    // Nothing of it is in files of its own.
    assert.deepEqual((await readdir(dir)).sort(), [
      "follower.db",
      "follower.db.follower-lock",
      "jetstream",
      "service-keys.json",
    ]);
    for (const end of ["SIGKILL", "SIGTERM"] as const) {
      await using server = await daemon(dir, JETSTREAM);
      await isReady(server.http);
      assert.ok((await (await fetch(`${server.http}/v1/users`)).text()).includes(admin));
      const got = await (await fetch(`${server.http}/v1/blobs/${id}`)).arrayBuffer();
      assert.deepEqual(new Uint8Array(got), blob);
      assert.equal(server.events().some((it) => it.event === "no_admin"), false);
      await server.stop(end);
      await until(() => !isAlive(server.natsPid()), "end of the nats-server");
    }
  }));

Deno.test("under enforce the node and its operator get in by the service keys, and nobody else", () =>
  inDir(async (dir) => {
    await using server = await daemon(dir, [...JETSTREAM, "--bus-auth", "enforce"]);
    assert.equal((await readyz(server.http))?.checks.find((it) => it.name === "callout")?.ok, true);
    const { hint } = await server.event("no_admin");
    await addAdmin(1, flagsOf(hint));
    const wrong = await cliProcess(["user", "list", "--nats-url", server.nats, "--json"]).ended;
    assert.equal(wrong.code, 1);
    assert.match(wrong.stderr, /does not accept these credentials\nhint: .*--service-keys/);
    const { reason } = await server.event("bus.refused");
    assert.equal(reason, "no_key");
    // The keys of another node are strangers as well.
    await loadServiceKeys(`${dir}/others.json`, { create: true });
    const others = ["--nats-url", server.nats, "--service-keys", `${dir}/others.json`];
    assert.equal((await cliProcess(["user", "list", ...others]).ended).code, 1);
    assert.equal((await fetch(`${server.http}/v1/users`)).status, 401);
    assert.equal((await server.stop()).code, 0);
  }));

Deno.test("a store with a move in progress is refused with 2, until the move is continued", () =>
  inDir(async (dir) => {
    const from = `${dir}/from.db`;
    writeDataset(from, { records: 2_000 });
    const keys = ["--service-keys", `${dir}/service-keys.json`];
    {
      // What a move leaves that was killed.
      await using alone = await daemon(dir, ["--nats-only"]);
      const { service } = await loadServiceKeys(`${dir}/service-keys.json`);
      const { bucket, end } = await openBucket({ servers: alone.nats, nkeySeed: service.seed });
      const deadline = Date.now() + 60_000;
      const { revision } = await readMarker(bucket, deadline);
      const startedAt = new Date().toISOString();
      const marker = { state: "in_progress", by: "migration", source: null, startedAt } as const;
      await writeMarker(bucket, marker, revision, deadline);
      await end();
      assert.equal((await alone.stop()).code, 0);
    }
    const refused = await (await launch(dir, JETSTREAM)).ended;
    assert.equal(refused.code, 2, refused.stderr);
    assert.match(refused.stderr, /\nerror: A migration into bucket UNIBUS began .*--nats-only/);
    assert.doesNotMatch(refused.stderr, /"ready"/);
    {
      await using alone = await daemon(dir, ["--nats-only"]);
      const move = ["migrate-to-kv", "--db", from, "--nats-url", alone.nats, ...keys];
      const { code, stderr, stdout } = await cliProcess([...move, "--replace", "--json"]).ended;
      assert.equal(code, 0, stderr + stdout);
      assert.equal((await alone.stop()).code, 0);
    }
    await using server = await daemon(dir, JETSTREAM);
    const list = ["user", "list", "--nats-url", server.nats, ...keys, "--json"];
    const moved = documentOf(await cliProcess(list).ended).users;
    const users =
      documentOf(await cliProcess(["user", "list", "--db", from, "--json"]).ended).users;
    assert.ok(users.length > 10);
    assert.deepEqual(moved, users);
  }));

Deno.test("without the service keys no store is made in the clients' account, where it would be lost", () =>
  inDir(async (dir) => {
    const from = `${dir}/from.db`;
    writeDataset(from, { records: 200 });
    await using alone = await daemon(dir, ["--nats-only"]);
    const url = ["--nats-url", alone.nats];
    const { signPub, kexPub } = person(1);
    const writers = [
      ["migrate-to-kv", "--db", from],
      ["migrate-to-kv", "--db", from, "--dry-run"],
      ["user", "add", "--handle", "a", "--sign-pub", signPub, "--kex-pub", kexPub],
      ["invite", "create"],
      ["invite", "create", "--create"],
    ];
    for (const args of writers) {
      const { code, stderr } = await cliProcess([...args, ...url]).ended;
      assert.equal(code, 1, args.join(" "));
      assert.match(stderr, /the account of its clients.*\nhint: .*--service-keys/);
    }
    assert.deepEqual((await readdir(dir)).filter((it) => /backup/.test(it)), []);
    // The start says the command that does it.
    const { move } = await alone.event("ready");
    assert.match(move, / --service-keys /);
    const [, command, , , ...reach] = move.split(" ");
    const { code, stderr } = await cliProcess([command, "--db", from, ...reach]).ended;
    assert.equal(code, 0, stderr);
  }));

Deno.test("a NATS server of one's own: configured by `nats accounts`, asked by the same keys", () =>
  inDir(async (dir) => {
    const keys = `${dir}/keys.json`;
    const made = await cliProcess(["nats", "accounts", keys]).ended;
    assert.equal(made.code, 0, made.stderr);
    const again = await cliProcess(["nats", "accounts", keys]).ended;
    assert.equal(again.stdout, made.stdout);
    await using nats = await testServer({ extra: made.stdout });
    const url = ["--nats-url", nats.url, "--service-keys", keys];
    const args = [...JETSTREAM, "--bus-auth", "enforce", ...url];
    await using server = await daemon(dir, args);
    await using second = await daemon(`${dir}/second`, args);
    for (const it of [server, second]) {
      await isReady(it.http);
      assert.equal(it.nats, nats.url);
      assert.equal(it.natsPid(), undefined);
    }
    const admin = await addAdmin(1, url);
    const shown = documentOf(await cliProcess(["user", "show", admin, ...url, "--json"]).ended);
    assert.equal(shown.role, "admin");
    // It is down: so are they; and it is theirs to come back to.
    const asked = async (status: number) => {
      await until(async () => (await readyz(server.http))?.status === status, `${status}`);
    };
    nats.kill();
    await nats.exited;
    await asked(503);
    await nats.restart();
    await asked(200);
    for (const it of [server, second]) {
      const { code, stderr } = await it.stop();
      assert.equal(code, 0, stderr);
    }
    assert.ok(nats.running);
  }));

Deno.test("a NATS server that is not there is told in words", () =>
  inDir(async (dir) => {
    const [port] = await freePorts(1);
    const child = await launch(dir, ["--nats-url", `nats://127.0.0.1:${port}`]);
    await child.seen(/"nats\.connecting"/);
    child.kill("SIGTERM");
    assert.equal((await child.ended).code, 0);
  }));
