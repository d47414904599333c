import assert from "node:assert/strict";
import { chmodSync, writeFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { cli, documentOf } from "../kit.ts";
import { freePorts, testServer } from "../../helpers/nats.ts";
import { filesOf, inDir } from "../../helpers/sqlite.ts";
import { testTls } from "../../helpers/tls.ts";
import { writeDataset } from "../../tools/dataset.ts";

/** Checks that a call fails with this code and message, as text and as JSON. */
async function fails(args: string[], exit: number, code: string, message: RegExp): Promise<void> {
  const { code: found, stdout, stderr } = await cli([...args, "--json"]);
  assert.equal(found, exit, `${args.join(" ")}\n${stderr}`);
  assert.equal(documentOf({ code: found, stdout, stderr }).error.code, code);
  assert.match(documentOf({ code: found, stdout, stderr }).error.message, message);
  assert.match(stderr, /^error: /m);
}

Deno.test("a URL that cannot be one is wrong usage, and never shows a password", async () => {
  for (
    const url of [
      "http://127.0.0.1:4222",
      "not a url",
      "nats://",
      "nats://127.0.0.1:99999",
      "nats://127.0.0.1:4222/x",
      ",",
      "nats://ada:sekret@127.0.0.1:4222",
      "ada:sekret@127.0.0.1:4222",
    ]
  ) {
    const { code, stdout, stderr } = await cli(["user", "list", "--nats-url", url, "--json"]);
    assert.equal(code, 2, url);
    assert.match(stderr, /--nats-url/);
    assert.ok(!(stdout + stderr).includes("sekret"));
  }
});

Deno.test("a server that is not there fails within the time that was given", () =>
  inDir(async (dir) => {
    const db = `${dir}/a.db`;
    writeDataset(db, { records: 200 });
    const [port] = await freePorts(1);
    const url = ["--nats-url", `nats://127.0.0.1:${port}`, "--connect-timeout", "0.5"];
    const before = filesOf(dir);
    for (
      const args of [
        ["migrate-to-kv", "--db", db],
        ["migrate-to-sqlite", "--db", `${dir}/b.db`],
        ["verify", "--db", db],
        ["user", "list"],
        ["doctor"],
      ]
    ) {
      const began = performance.now();
      await fails([...args, ...url], 1, "unavailable", /^Connect to nats:.*refused/);
      assert.ok(performance.now() - began < 9_500, args[0]!);
    }
    assert.equal(filesOf(dir)["a.db"], before["a.db"]);
  }));

Deno.test("a server that stops is noticed: the next command fails, and the bucket is whole after", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const flags = ["--nats-url", server.url];
    const db = `${dir}/a.db`;
    writeDataset(db, { records: 200 });
    assert.equal((await cli(["migrate-to-kv", "--db", db, ...flags])).code, 0);
    await server.stop();
    const soon = [...flags, "--connect-timeout", "1"];
    await fails(["verify", "--db", db, ...soon], 1, "unavailable", /^Connect to/);
    await server.restart();
    assert.equal((await cli(["verify", "--db", db, ...flags])).code, 0);
  }));

Deno.test("--replicas 3 on one server is refused and nothing is made", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const db = `${dir}/a.db`;
    writeDataset(db, { records: 200 });
    const before = filesOf(dir)["a.db"];
    const nats = ["--nats-url", server.url];
    const args = ["migrate-to-kv", "--db", db, ...nats, "--replicas", "3"];
    await fails(args, 2, "invalid", /replicas 3.*one server/);
    await fails(["user", "list", ...nats], 1, "not_found", /No bucket/);
    assert.equal(filesOf(dir)["a.db"], before);
  }));

Deno.test("a server without JetStream is named as such", async () => {
  await using server = await testServer({ jetstream: false });
  const nats = ["--nats-url", server.url];
  await fails(["user", "list", ...nats], 1, "unsupported", /without JetStream/);
});

Deno.test("TLS: the right CA opens, the wrong one, none and no TLS at the server are said", async () => {
  await using tls = await testTls();
  await using server = await testServer({ tls: tls.server });
  await using plain = await testServer();
  const url = ["--nats-url", server.url];
  const made = await cli(["invite", "create", "--create", ...url, "--ca", tls.caFile]);
  assert.equal(made.code, 0, made.stderr);
  const list = ["user", "list"];
  await fails([...list, ...url, "--ca", tls.otherCaFile], 1, "unavailable", /TLS failed/);
  await fails([...list, ...url], 1, "unavailable", /TLS failed/);
  await fails([...list, ...url, "--ca", "/none.pem"], 2, "invalid", /--ca .*no such file/);
  // Whoever asks for TLS must not be served without.
  const downgraded = plain.url.replace("nats:", "tls:");
  const args = [...list, "--nats-url", downgraded];
  await fails(args, 1, "unavailable", /does not support 'tls'/);
});

Deno.test("a seed or credentials that cannot be read are wrong usage and stay secret", () =>
  inDir(async (dir) => {
    writeFileSync(`${dir}/seed`, "SUsekret");
    const url = ["--nats-url", "nats://127.0.0.1:1", "--connect-timeout", "1"];
    for (const flag of ["--nkey-seed-file", "--creds"]) {
      const { code, stdout, stderr } = await cli(
        ["user", "list", ...url, flag, `${dir}/seed`, "--json"],
      );
      assert.equal(code, 2, stderr);
      assert.ok(!(stdout + stderr).includes("SUsekret"));
      const args = ["user", "list", ...url, flag, `${dir}/none`];
      await fails(args, 2, "invalid", /no such file/);
    }
  }));

Deno.test("files that are no control plane are refused by every command and left as they are", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const future = `${dir}/future.db`;
    writeDataset(future, { records: 200 });
    using db = new DatabaseSync(future);
    db.exec("PRAGMA user_version = 99");
    db.close();
    using other = new DatabaseSync(`${dir}/other.db`);
    other.exec("CREATE TABLE theirs (a)");
    other.close();
    writeFileSync(`${dir}/text.db`, "this is text, not a database\n".repeat(100));
    writeFileSync(`${dir}/short.db`, "short");
    const before = filesOf(dir);
    const cases: [string, string, RegExp][] = [
      ["future.db", "unsupported", /version is 99, this program/],
      ["other.db", "refused", /another program's/],
      ["text.db", "corrupt", /not a SQLite file/],
      ["short.db", "corrupt", /not a SQLite file/],
    ];
    for (const [name, code, message] of cases) {
      const store = ["--db", `${dir}/${name}`];
      await fails(["user", "list", ...store], 1, code, message);
      await fails(["invite", "create", ...store], 1, code, message);
      await fails(["doctor", ...store], 1, code, message);
      const move = ["migrate-to-kv", ...store, "--nats-url", server.url];
      await fails(move, 1, code, message);
    }
    await fails(["user", "list", "--db", dir], 1, "refused", /not a file/);
    const after = filesOf(dir);
    for (const [name] of cases) assert.equal(after[name], before[name], name);
    const { stderr } = await cli(["user", "list", "--nats-url", server.url]);
    assert.match(stderr, /No bucket/);
  }));

Deno.test("a bucket name that cannot be one is wrong usage", async () => {
  const url = ["--nats-url", "nats://127.0.0.1:1", "--connect-timeout", "1"];
  for (const bucket of ["a b", "a.b", "", "*"]) {
    await fails(["user", "list", ...url, "--bucket", bucket], 2, "invalid", /bucket must be/);
  }
});

Deno.test({
  name: "a file that may only be read can be listed and not changed",
  // Root may write anything; tests/sqlite/open_test.ts asks somebody who may not.
  ignore: Deno.uid() === 0,
  fn: () =>
    inDir(async (dir) => {
      const db = `${dir}/a.db`;
      writeDataset(db, { records: 200 });
      chmodSync(db, 0o444);
      assert.equal((await cli(["user", "list", "--db", db])).code, 0);
      await fails(["invite", "create", "--db", db], 1, "refused", /read-only/);
    }),
});
