/**
 * Errors end with what to do next.
 *
 * @module
 */

import assert from "node:assert/strict";
import { mkdir, open, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { DatabaseSync } from "node:sqlite";
import { failureOf } from "../../../cli/terminal/failure.ts";
import { hintOf } from "../../../cli/terminal/hints.ts";
import { OutputClosed } from "../../../cli/terminal/io.ts";
import { type Invite, openSqlite } from "../../../mod.ts";
import { JetStreamApiError } from "@nats-io/jetstream";
import { errors, type NatsConnection } from "@nats-io/transport-node";
import { toStoreError as ofDisk } from "../../../src/files/errors.ts";
import { StoreError } from "../../../src/core/errors.ts";
import { inviteProblem } from "../../../src/core/rules.ts";
import { listenError } from "../../../src/http/serve/serve.ts";
import { CODE, ofApi, ofConnection } from "../../../src/jetstream/log/wire.ts";
import { damaged } from "../../../src/snapshot/lines.ts";
import { toStoreError } from "../../../src/sqlite/file/errors.ts";
import { createNkey } from "../../../src/keys/nkey.ts";
import { cli } from "../kit.ts";
import { natsBinary, testServer } from "../../helpers/nats.ts";
import { inDir, person } from "../../helpers/sqlite.ts";

/** Command lines that fail, and the hint each must end with; `null` for none. */
type Wrong = [args: string[], hint: RegExp | null];

async function expect(wrong: Wrong[], env: Record<string, string> = {}): Promise<void> {
  for (const [args, hint] of wrong) {
    const { code, stderr } = await cli(args, { env });
    assert.ok(code === 1 || code === 2, `${args.join(" ")}: ${stderr}`);
    const [, found] = /^error: .*(?:\n {2}.*)*\nhint: (.*)\n$/m.exec(stderr) ?? [];
    if (hint === null) assert.equal(found, undefined, `${args.join(" ")}: ${stderr}`);
    else assert.match(found ?? stderr, hint, args.join(" "));
  }
}

Deno.test("what is not in the store: the command that lists what is", async () => {
  await inDir(async (dir) => {
    const db = ["--db", `${dir}/a.db`];
    const ada = `${dir}/ada.json`;
    await cli(["identity", "create", ada]);
    const add = ["user", "add", "--create", "--handle", "ada", "--identity", ada, ...db];
    assert.equal((await cli(add)).code, 0);
    const none = person("nobody").signPub;
    const redeem = (token: string) => [
      ...["invite", "redeem", token, "--handle", "eve"],
      ...["--sign-pub", none, "--kex-pub", person("nobody").kexPub, ...db],
    ];
    const invite = async () =>
      JSON.parse((await cli(["invite", "create", "--json", ...db])).stdout);
    const used = await invite();
    assert.equal((await cli(redeem(used.token))).code, 0);
    const canceled = await invite();
    assert.equal((await cli(["invite", "cancel", canceled.invite.id, ...db])).code, 0);
    const stranger = person("stranger").signPub;
    await expect([
      [["user", "show", stranger, ...db], /user list/],
      [["user", "revoke", stranger, ...db], /user list/],
      [["user", "revoke", "ada", ...db], /as printed by user list/],
      [["room", "show", "none", ...db], /room list/],
      [["invite", "show", stranger, ...db], /invite list/],
      [redeem("b".repeat(64)), /mistyped or .*; ask an admin for a new one/],
      [redeem(used.token), /^ask an admin for a new one/],
      [redeem(canceled.token), /^ask an admin for a new one/],
      [add, /user show KEY .* user restore/],
    ]);
  });
});

Deno.test("a file that is not what it should be: what to name instead", async () => {
  await inDir(async (dir) => {
    const at = (name: string) => `${dir}/${name}`;
    await writeFile(at("empty"), "");
    await writeFile(at("text"), "no database ".repeat(50), { mode: 0o600 });
    const other = new DatabaseSync(at("other"));
    other.exec("CREATE TABLE it (a)");
    other.close();
    const url = ["--nats-url", "nats://127.0.0.1:1"];
    await expect([
      ...["none", "empty", "other", "text"].map((name): Wrong => [
        ["user", "list", "--db", at(name)],
        /^name the file with --db, or a server/,
      ]),
      [["user", "list", "--db", dir], /^name the file with --db/],
      [["migrate-to-kv", "--db", at("text"), ...url], /restore a backup/],
      [["identity", "show", at("none")], /create one with membershipd identity create/],
      // Nobody makes files there.
      ...Deno.build.os === "linux"
        ? [
          [["identity", "create", "/sys/ada.json"], /as the owner of the file/] satisfies Wrong,
        ]
        : [],
      [["identity", "show", at("text")], /created by membershipd identity create/],
      [["snapshot", "verify", at("text")], /use another copy of the snapshot/],
      [["snapshot", "verify", at("none")], null],
      [["user", "list", ...url, "--creds", at("text")], /a JWT and its seed/],
      [["user", "list", ...url, "--nkey-seed-file", at("text")], /begins with SU/],
      [["user", "list", ...url, "--service-keys", at("none")], /the server creates them next to/],
      [["user", "list", ...url, "--connect-timeout", "1"], /check --nats-url/],
    ]);
  });
});

Deno.test("a file that another process writes: to wait", async () => {
  await inDir(async (dir) => {
    const path = `${dir}/a.db`;
    {
      await using store = openSqlite(path);
      await store.addUser(person(1));
    }
    const other = new DatabaseSync(path);
    other.exec("BEGIN IMMEDIATE");
    try {
      await expect([[["invite", "create", "--db", path], /wait for the other process to finish/]]);
    } finally {
      other.close();
    }
  });
});

Deno.test("damage in a file is a finding of doctor, whatever table it is in", async () => {
  await inDir(async (dir) => {
    for (const table of ["users", "members", "rooms"]) {
      const path = `${dir}/${table}.db`;
      {
        await using store = openSqlite(path);
        await store.addUser(person(1));
      }
      const db = new DatabaseSync(path);
      const { page_size: size } = db.prepare("PRAGMA page_size").get()!;
      const { rootpage: page } = db.prepare("SELECT rootpage FROM sqlite_schema WHERE name = ?")
        .get(table)!;
      db.close();
      const file = await open(path, "r+");
      await file.write(
        new Uint8Array(Number(size)).fill(7),
        0,
        Number(size),
        Number(size) * (Number(page) - 1),
      );
      await file.close();
      const { code, stdout, stderr } = await cli(["doctor", "--db", path]);
      assert.equal(code, 1);
      assert.match(stderr, /^\d problems? found\n$/);
      assert.match(stdout, /^problem .*(damaged|malformed)/m);
    }
  });
});

Deno.test("a server that says no: who one must be there, and how it is reached", async () => {
  await inDir(async (dir) => {
    const { path } = await natsBinary();
    const bare = `${dir}/bare.nk`;
    await writeFile(bare, createNkey("user").seed, { mode: 0o600 });
    await using server = await testServer();
    const url = ["--nats-url", server.url, "--connect-timeout", "60"];
    const tls = ["--nats-url", server.url.replace("nats:", "tls:"), "--connect-timeout", "1"];
    await expect([
      [["user", "list", ...url], /name the bucket with --bucket/],
      [["user", "list", ...tls], /this port does not support TLS/],
    ]);
    const env = { UNIBUS_NATS_SERVER: path };
    const own = ["--db", `${dir}/a.db`, "--nats-store", `${dir}/js`, "--store-dir", `${dir}/blobs`];
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
    const { port } = taken.address() as { port: number };
    const serve = ["serve", ...own, "--log-level", "error"];
    const listen = (http: number, nats: number) => [`--http-port=${http}`, `--nats-port=${nats}`];
    try {
      await expect([
        [[...serve, ...listen(port, 0)], /stop the program that uses the port/],
        [[...serve, ...listen(0, port)], /stop the program that uses the port/],
        // An address for documentation, which no machine has.
        [
          [...serve, ...listen(0, 0), "--bind", "203.0.113.9", "--bus-auth", "enforce"],
          /an address of this machine/,
        ],
      ], env);
    } finally {
      taken.close();
    }
    const wrong = { UNIBUS_NATS_SERVER: "/nonexistent/nats-server" };
    await expect([[[...serve, ...listen(0, 0)], /^set it to a nats-server/]], wrong);
    await mkdir(`${dir}/empty`);
    const empty = { PATH: `${dir}/empty`, HOME: `${dir}/empty`, XDG_CACHE_HOME: `${dir}/empty` };
    await expect([[["nats", "path"], /membershipd nats install/]], empty);
  });
});

Deno.test("what only others meet: no rights, no room on the disk, other versions", () => {
  const system = (code: string) => Object.assign(new Error(code), { code });
  const sqlite = (errcode: number) =>
    toStoreError(Object.assign(system("ERR_SQLITE_ERROR"), { errcode }), "Opening a.db");
  const api = (err_code: number) =>
    ofApi(new JetStreamApiError({ code: 500, err_code, description: "" }), "Reading") as StoreError;
  const open = { isClosed: () => false } as NatsConnection;
  const denied = new errors.PermissionViolationError("no", "publish", "$JS.API");
  const invite: Invite = {
    ...{ id: "ab", createdBy: "", role: "user", note: "", createdAt: "2026-11-20T00:00:00.000Z" },
    ...{ expiresAt: "2026-11-21T00:00:00.000Z", usedAt: null, usedBy: null, canceledAt: null },
  };
  const seen: [StoreError, RegExp | undefined][] = [
    [toStoreError(system("EACCES"), "Creating /etc/a.db"), /run it as the owner of the file/],
    [ofDisk(system("EROFS"), "Storing a blob"), /as the owner/],
    [sqlite(8), /as the owner/],
    [sqlite(14), /as the owner/],
    [sqlite(13), /free disk space/],
    [ofDisk(system("ENOSPC"), "Storing a blob"), /free disk space/],
    [ofDisk(system("EIO"), "Storing a blob"), undefined],
    [listenError(system("EACCES"), "127.0.0.1", 80), /CAP_NET_BIND_SERVICE/],
    [ofConnection(open, denied) as StoreError, /may not use the bucket/],
    [api(CODE.notEnabledForAccount), /an account with/],
    [api(CODE.insufficientResources), undefined],
    [inviteProblem(invite, "2026-11-22T00:00:00.000Z")!, /ask an admin/],
    [damaged(3, "is not UTF-8"), /use another copy/],
    // Where only the code is known.
    [new StoreError("mismatch", "Bucket UNIBUS differs"), /verify lists the differences/],
    [new StoreError("conflict", "Rekeying lobby"), /check its state, then run the command again/],
    [new StoreError("unsupported", "The nats-server runs without JetStream"), undefined],
  ];
  for (const [error, hint] of seen) {
    if (hint === undefined) assert.equal(hintOf(error), undefined, error.message);
    else assert.match(hintOf(error) ?? "", hint, error.message);
  }
});

Deno.test("a hint is chosen by code and field, whatever the message says", () => {
  const misleading = "No bucket, permission denied: the disk is full, No user ab, TLS failed";
  for (const code of ["invalid", "not_found", "unavailable", "refused", "corrupt"] as const) {
    assert.equal(hintOf(new StoreError(code, misleading)), undefined, code);
    assert.equal(hintOf(new StoreError(code, misleading, { hint: "wait" })), "wait");
  }
  const error = new StoreError("not_found", "?", { field: "user", hint: "listUsers() has them" });
  assert.match(hintOf(error)!, /^run membershipd user list/);
});

Deno.test("--json has the hint that is shown, also of a wrong command line", async () => {
  for (const args of [["user", "list", "--db", "/nonexistent/a.db"], ["user", "list", "--jsn"]]) {
    const { stdout, stderr } = await cli([...args, "--json"]);
    const [, hint] = /\nhint: (.*)\n$/.exec(stderr)!;
    assert.equal(JSON.parse(stdout).error.hint, hint);
  }
});

Deno.test("what nobody foresaw asks for a report, without what only a debugger needs", () => {
  const { signal } = new AbortController();
  const failure = failureOf(new TypeError("x is not a function"), signal, null)!;
  assert.deepEqual([failure.exit, failure.code], [1, "internal"]);
  assert.match(failure.hint!, /UNIBUS_DEBUG=1\) and .* version --json/);
  assert.equal(failureOf(new OutputClosed("gone"), signal, null), null);
});
