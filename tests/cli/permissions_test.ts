/**
 * The program with the permissions of Deno that the operating guide lists, and with fewer.
 *
 * @module
 */

import assert from "node:assert/strict";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { type CliProcess, cliProcess, documentOf, type Result } from "./kit.ts";
import { eventsOf } from "./serve/kit.ts";
import { testServer } from "../helpers/nats.ts";
import { inDir } from "../helpers/sqlite.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** The permissions as the operating guide lists them, with `dir` for the folder of the data. */
async function listed(dir: string): Promise<string[]> {
  const guide = await readFile(`${ROOT}docs/operating.md`, "utf8");
  const [, command = ""] = /^deno run --no-prompt ([^]*?)\n {2}jsr:/m.exec(guide) ?? [];
  const flags = command.split(/[\s\\]+/).filter((it) => it !== "");
  assert.equal(flags.length, 5, `the guide lists ${flags.join(" ")}`);
  return flags.map((it) => it.replace("./local_files,/tmp", `${dir},${tmpdir()}`));
}

/** Runs the program with these permissions. */
function started(permissions: string[], args: string[], cwd: string): CliProcess {
  // Deno adds -A to a `deno run` that it spawns for node:child_process and that names no permission.
  const program = ["run", "--no-prompt", "--deny-ffi", ...permissions, `${ROOT}cli/main.ts`];
  return cliProcess(args, { program, cwd });
}

function run(permissions: string[], args: string[], cwd: string): Promise<Result> {
  return started(permissions, args, cwd).ended;
}

/** It failed with a line that names the permission, a hint, and nothing else. */
function denied({ code, stderr }: Result, message: RegExp, hint: RegExp): void {
  assert.equal(code, 1, stderr);
  const [error = "", told = "", ...more] = stderr.trimEnd().split("\n")
    .filter((it) => !it.includes(" INFO "));
  assert.match(error, /^error: /);
  assert.match(error, message);
  assert.doesNotMatch(error, /run again/);
  assert.match(told, /^hint: /);
  assert.match(told, hint);
  assert.deepEqual(more, []);
}

Deno.test("serve --nats-url runs with the permissions that the guide lists, with each store", async () => {
  await using nats = await testServer();
  await inDir(async (dir) => {
    const permissions = await listed(dir);
    for (const store of ["sqlite", "jetstream"]) {
      const data = ["--db", `${dir}/${store}/a.db`, "--store-dir", `${dir}/${store}/blobs`];
      const server = started(permissions, [
        ...["serve", "--nats-url", nats.url, "--http-port", "0", "--log-format", "json"],
        ...["--store", store, ...data],
        // The server of node:http, which public addresses get.
        ...["--max-connections-per-address", "100"],
      ], dir);
      await server.seen(/"event":"ready"/);
      const { http } = eventsOf(server.stderr()).find((it) => it.event === "ready")!;
      for (const path of ["readyz", "metrics", "console", "openapi.json"]) {
        const answer = await fetch(`${http}/${path}`);
        await answer.body?.cancel();
        assert.equal(answer.status, 200, path);
      }
      server.kill("SIGTERM");
      assert.equal((await server.ended).code, 0, server.stderr());
    }
  });
});

Deno.test("commands that start no process run with the permissions that the guide lists", async () => {
  await using nats = await testServer();
  await inDir(async (dir) => {
    const permissions = await listed(dir);
    const done = async (...args: string[]) => {
      const result = await run(permissions, args, dir);
      assert.equal(result.code, 0, `${args.join(" ")}: ${result.stderr}`);
      return result;
    };
    const file = ["--db", `${dir}/a.db`];
    const bucket = ["--nats-url", nats.url];
    const { stdout } = await done("nats", "accounts", `${dir}/keys.json`);
    assert.match(stdout, /auth_callout/);
    await done("identity", "create", `${dir}/ada.json`);
    const empty = `${dir}/empty.ndjson`;
    const added = await done(
      ...[
        "user",
        "add",
        "--create",
        "--admin",
        "--handle",
        "ada",
        "--identity",
        `${dir}/ada.json`,
        ...file,
      ],
    );
    // Who did it stands in the audit line.
    assert.match(added.stderr, / by=cli:(?!unknown)[^@]+@(?!unknown)/);
    await done("invite", "create", ...file);
    assert.equal(documentOf(await done("user", "list", "--json", ...file)).users.length, 1);
    await done("doctor", ...file);
    await done("log", "verify", ...file);
    assert.match((await done("log", ...file)).stdout, / invite\.created .* by=cli:/);
    await done("snapshot", "export", empty, ...file);
    await done("snapshot", "import", empty, "--db", `${dir}/b.db`);
    const moved = documentOf(await done("migrate-to-kv", "--json", ...file, ...bucket));
    await done("doctor", "--db", moved.backup);
    assert.equal(documentOf(await done("user", "list", "--json", ...bucket)).users.length, 1);
    await done("verify", ...file, ...bucket);
    await done("snapshot", "export", `${dir}/kv.ndjson`, ...bucket);
    await done("snapshot", "diff", empty, `${dir}/kv.ndjson`);
    await done("doctor", ...bucket);
    await mkdir(`${dir}/blobs`);
    await done("blobs", "to-kv", "--store-dir", `${dir}/blobs`, ...bucket);
    await done("cluster", "status", ...bucket);
    await done("migrate-to-sqlite", ...file, ...bucket);
    assert.deepEqual((await readdir(tmpdir())).filter((it) => it.startsWith("unibus-spool-")), []);
  });
});

Deno.test("version, help, the manual page and completions need no permission", async () => {
  await inDir(async (dir) => {
    for (
      const args of [["version"], ["version", "--json"], ["--help"], ["man"], [
        "completion",
        "fish",
      ]]
    ) {
      const { code, stdout, stderr } = await run([], args, dir);
      assert.equal(code, 0, stderr);
      assert.notEqual(stdout, "");
    }
  });
});

Deno.test("a missing permission is named in one line, with the flag that gives it", async () => {
  await using nats = await testServer();
  await inDir(async (dir) => {
    const at = [`--allow-read=${dir}`, `--allow-write=${dir}`, "--allow-env"];
    const net = `--allow-net=${new URL(nats.url).host}`;
    const url = ["--nats-url", nats.url];
    const serve = ["serve", ...url, "--db", `${dir}/a.db`, "--store-dir", `${dir}/blobs`];
    const list = ["user", "list"];
    const env = /^hint: run it with --allow-env, or with -A; docs\/operating.md/;
    denied(
      await run([], list, dir),
      /^error: Permission denied by Deno: it requires env access/,
      env,
    );
    denied(
      await run(["--allow-env"], [...list, "--db", "a.db"], dir),
      /read access to/,
      /--allow-read/,
    );
    // At once, not when --connect-timeout is over.
    denied(await run(at, [...list, ...url], dir), /Connect to .*net access/, /--allow-net/);
    denied(await run([...at, net], serve, dir), /net access to "127.0.0.1:8470"/, /--allow-net/);
    const blobs = await run([...at, "--allow-net=127.0.0.1"], [...serve, "--http-port", "0"], dir);
    denied(blobs, /Opening the blobs .*sys access to "hostname"/, /--allow-sys/);
  });
});

Deno.test("a nats-server is started with all permissions only, and nothing is made before", async () => {
  await inDir(async (dir) => {
    const nearly = ["--allow-read", "--allow-write", "--allow-net", "--allow-env", "--allow-run"];
    const args = ["serve", "--http-port", "0", "--nats-port", "0"];
    denied(await run(nearly, args, dir), /missing or limited: sys, ffi$/, /run it with -A; /);
    assert.deepEqual(await readdir(dir), []);
  });
});

Deno.test("the unit file lists the same permissions of the system as the guide", async () => {
  const unit = await readFile(`${ROOT}docs/deploy/membershipd.service`, "utf8");
  const sys = (await listed("")).find((it) => it.startsWith("--allow-sys"));
  assert.ok(unit.includes(` ${sys} `), `${sys} is not in the unit file`);
});
