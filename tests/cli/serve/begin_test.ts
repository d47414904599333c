/**
 * A store that begins empty: never beside a control plane that was to be moved into it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readdir, rename, rm, stat } from "node:fs/promises";
import { openDiskBlobs } from "../../../src/blobs/mod.ts";
import { openSqlite } from "../../../src/sqlite/mod.ts";
import { cliProcess } from "../kit.ts";
import { populate } from "../../move/kit.ts";
import { daemon, launch, until } from "./kit.ts";
import { inDir } from "../../helpers/sqlite.ts";

const JETSTREAM = ["--store", "jetstream"];

async function fill(db: string): Promise<void> {
  await using store = openSqlite(db);
  await populate(store);
}

async function addBlob(dir: string): Promise<void> {
  await using blobs = await openDiskBlobs(`${dir}/blobs`);
  const bytes = new TextEncoder().encode("a blob");
  await blobs.put(
    (async function* () {
      yield await Promise.resolve(bytes);
    })(),
    { maxBytes: 1000 },
  );
}

/** Starts the server, which must refuse; gives what it says. */
async function refused(dir: string, ...args: string[]): Promise<string> {
  const { code, stderr } = await (await launch(dir, args)).ended;
  assert.equal(code, 2, stderr);
  assert.doesNotMatch(stderr, /"ready"/);
  return stderr;
}

Deno.test("serve says that it began an empty control plane, in a folder that it creates, once", () =>
  inDir(async (dir) => {
    const file = `${dir}/new/a.db`;
    for (const [store, where] of [["sqlite", file], ["jetstream", "UNIBUS"]]) {
      for (const created of [true, false]) {
        await using server = await daemon(dir, ["--store", store!, "--db", file, "--new"]);
        const told = server.events().filter((it) => it.event === "store.created");
        assert.deepEqual(told.map(({ db, bucket }) => db ?? bucket), created ? [where] : []);
      }
    }
    assert.equal((await stat(`${dir}/new`)).mode & 0o777, 0o700);
  }));

Deno.test("--store jetstream does not begin empty beside a file with records, unless --new", () =>
  inDir(async (dir) => {
    await fill(`${dir}/a.db`);
    const said = await refused(dir, ...JETSTREAM);
    assert.match(said, /error: Refused to create an empty store: bucket UNIBUS has no records/);
    assert.match(
      said,
      /a\.db \(a SQLite file; move it with membershipd migrate-to-kv --db .*a\.db\)/,
    );
    {
      await using server = await daemon(dir, [...JETSTREAM, "--new"]);
      await server.stop();
    }
    // What another node, or an earlier start, has made and is still empty is refused as well.
    assert.match(await refused(dir, ...JETSTREAM), /Refused to create an empty store/);
  }));

Deno.test("a file without records is no reason not to begin, nor is a bucket that was moved empty", () =>
  inDir(async (dir) => {
    await openSqlite(`${dir}/a.db`).close();
    {
      await using server = await daemon(dir, JETSTREAM);
      await server.stop();
    }
    await rm(`${dir}/jetstream`, { recursive: true });
    const empty = `${dir}/empty.db`;
    await openSqlite(empty).close();
    {
      await using alone = await daemon(dir, ["--nats-only"]);
      const keys = ["--service-keys", `${dir}/service-keys.json`];
      const move = ["migrate-to-kv", "--db", empty, "--nats-url", alone.nats, ...keys];
      const { code, stderr } = await cliProcess(move).ended;
      assert.equal(code, 0, stderr);
      await alone.stop();
    }
    await fill(`${dir}/a.db`);
    await using server = await daemon(dir, JETSTREAM);
    assert.ok(server.http);
  }));

Deno.test("a directory of streams that was set aside, and blobs, are control planes as well", () =>
  inDir(async (dir) => {
    {
      await using server = await daemon(dir, JETSTREAM);
      await server.stop();
    }
    await rename(`${dir}/jetstream`, `${dir}/jetstream.single`);
    assert.match(
      await refused(dir, ...JETSTREAM),
      /jetstream\.single \(streams; move it with membershipd cluster import .*jetstream\.single\)/,
    );
    // With a file as the store nothing is made either.
    assert.match(await refused(dir), /--db .*a\.db has no records.*jetstream\.single/);
    assert.equal(existsSync(`${dir}/a.db`), false);
    await rm(`${dir}/jetstream.single`, { recursive: true });
    await rm(`${dir}/jetstream`, { recursive: true });
    await addBlob(dir);
    assert.match(await refused(dir, ...JETSTREAM), /blobs \(blobs\); move it first/);
    assert.match(await refused(dir), /blobs \(blobs\)/);
    await using server = await daemon(dir, ["--new"]);
    assert.ok(server.http);
  }));

Deno.test("streams that hold the control plane are not left for an empty file", () =>
  inDir(async (dir) => {
    {
      await using server = await daemon(dir, JETSTREAM);
      await server.stop();
    }
    assert.match(
      await refused(dir),
      /jetstream \(streams; move it with membershipd migrate-to-sqlite\)/,
    );
    assert.deepEqual((await readdir(dir)).sort(), [
      "follower.db",
      "follower.db.follower-lock",
      "jetstream",
      "service-keys.json",
    ]);
  }));

Deno.test("--nats-only says what to do next with what it holds, and the start tells of forgotten blobs", () =>
  inDir(async (dir) => {
    await fill(`${dir}/a.db`);
    await addBlob(dir);
    const next = async () => {
      await using alone = await daemon(dir, ["--nats-only"]);
      const { move, then, back } = await alone.event("ready");
      return { alone, move, then, back };
    };
    {
      await using alone = await daemon(dir, ["--nats-only"]);
      const { move } = await alone.event("ready");
      assert.match(move, /^membershipd migrate-to-kv --db .*a\.db --nats-url /);
      const { code, stderr } = await cliProcess(move.split(" ").slice(1)).ended;
      assert.equal(code, 0, stderr);
      await alone.stop();
    }
    const full = await next();
    assert.equal(full.move, undefined);
    assert.equal(full.then, "membershipd serve --store jetstream");
    assert.match(full.back, /^membershipd migrate-to-sqlite --db .*a\.db --nats-url /);
    {
      await using server = await daemon(dir, JETSTREAM);
      const { hint } = await server.event("blobs.forgotten");
      assert.match(hint, /^run membershipd blobs to-kv --store-dir .*blobs, with/);
      const keys = ["--nats-url", server.nats, "--service-keys", `${dir}/service-keys.json`];
      const found = ["doctor", ...keys, "--store-dir", `${dir}/blobs`];
      const doctor = await cliProcess(found).ended;
      assert.match(doctor.stdout, /problem +blobs +.*blobs to-kv --store-dir/, doctor.stderr);
      assert.equal(doctor.code, 1);
      const copy = ["blobs", "to-kv", "--store-dir", `${dir}/blobs`, ...keys];
      assert.equal((await cliProcess(copy).ended).code, 0);
      const again = await cliProcess(found).ended;
      assert.match(again.stdout, /ok +blobs/, again.stderr);
      await server.stop();
    }
    await rename(`${dir}/jetstream`, `${dir}/jetstream.cluster`);
    const back = await next();
    assert.match(back.move, /^membershipd cluster import .*jetstream\.cluster --nats-url /);
  }));

Deno.test("a bucket that vanishes under a running server is an alarm", () =>
  inDir(async (dir) => {
    await using server = await daemon(dir, JETSTREAM);
    const { loadServiceKeys } = await import("../../../src/nats/connection/service_keys.ts");
    const { connectNats } = await import("../../../src/nats/connection/connect.ts");
    const { service } = await loadServiceKeys(`${dir}/service-keys.json`);
    const keys = ["--nats-url", server.nats, "--service-keys", `${dir}/service-keys.json`];
    const connection = await connectNats({ servers: server.nats, nkeySeed: service.seed });
    const status = async () => await cliProcess(["cluster", "status", ...keys]).ended;
    try {
      await until(async () => (await status()).code === 0, "health");
      for (const stream of ["OBJ_UNIBUS_BLOBS", "KV_UNIBUS"]) {
        await connection.request(`$JS.API.STREAM.DELETE.${stream}`, "", { timeout: 60_000 });
        await until(async () => {
          const response = await fetch(`${server.http}/readyz`);
          await response.body?.cancel();
          return response.status === 503;
        }, `alarm of ${stream}`);
        const { code, stdout } = await status();
        assert.equal(code, 1);
        assert.match(
          stdout,
          new RegExp(`Bucket ${stream.replace(/^(OBJ|KV)_/, "")} does not exist, but a`),
        );
      }
      const doctor = await cliProcess(["doctor", ...keys, "--store-dir", `${dir}/none`]).ended;
      assert.equal(doctor.code, 1, doctor.stdout);
      assert.match(doctor.stderr, /No bucket UNIBUS on this server/);
    } finally {
      await connection.close();
    }
  }));
