import assert from "node:assert/strict";
import { freePorts, testServer } from "../../helpers/nats.ts";
import { cliProcess, documentOf } from "../kit.ts";
import { inDir, person } from "../../helpers/sqlite.ts";
import { writeDataset } from "../../tools/dataset.ts";

Deno.test("a process: the result on stdout, messages on stderr, the exit code", () =>
  inDir(async (dir) => {
    const db = `${dir}/a.db`;
    const { signPub, kexPub, handle } = person(1);
    const flags = ["--sign-pub", signPub, "--kex-pub", kexPub, "--handle", handle, "--db", db];
    const added = await cliProcess(["user", "add", "--create", ...flags]).ended;
    assert.deepEqual([added.code, added.stdout], [0, `added user ${handle} ${signPub}\n`]);
    assert.match(
      added.stderr,
      /^created an empty control plane in \S+\/a\.db\n\S+ INFO {2}audit [^\n]*\n$/,
    );
    const again = await cliProcess(["user", "add", ...flags, "--json"]).ended;
    assert.equal(again.code, 1);
    assert.equal(documentOf(again).error.code, "user_exists");
    assert.match(again.stderr, /^error: [^\n]+\nhint: [^\n]+\n$/);
    const usage = await cliProcess(["user", "add", "--handel", "x"]).ended;
    assert.deepEqual([usage.code, usage.stdout], [2, ""]);
    const none = await cliProcess(["user"]).ended;
    assert.deepEqual([none.code, none.stdout], [2, ""]);
    const big = await cliProcess(["snapshot", "export", "-", "--db", db]).ended;
    assert.equal(big.code, 0);
    const verified = await cliProcess(["snapshot", "verify", "-", "--json"], { stdin: big.stdout })
      .ended;
    assert.equal(documentOf(verified).counts.users, 1);
  }));

Deno.test("Ctrl-C in the middle of a migration ends it with 130, and running it again completes it", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const db = `${dir}/a.db`;
    writeDataset(db, { records: 100_000 });
    const flags = ["--db", db, "--nats-url", server.url];
    const move = ["migrate-to-kv", ...flags, "--no-backup", "--json", "--progress", "json"];

    const first = cliProcess(move);
    // Some of it is copied, by far not all.
    await first.seen(/"phase":"copy","done":[1-9]/);
    first.kill("SIGINT");
    const interrupted = await first.ended;
    assert.equal(interrupted.code, 130, interrupted.stderr);
    assert.equal(documentOf(interrupted).error.code, "aborted");
    assert.match(interrupted.stderr, /\nerror: Interrupted\nhint: run the same command again/);
    assert.doesNotMatch(interrupted.stderr, /"phase":"verify"/);

    const half = await cliProcess(["user", "list", "--nats-url", server.url, "--json"]).ended;
    assert.equal(half.code, 1);
    assert.equal(documentOf(half).error.code, "in_progress");

    const second = await cliProcess(move).ended;
    assert.equal(second.code, 0, second.stderr);
    assert.equal(documentOf(second).target, "resumed");
    assert.match(second.stderr, /"phase":"done"/);
    const verified = await cliProcess(["verify", ...flags, "--json"]).ended;
    assert.equal(verified.code, 0);
    assert.equal(documentOf(verified).equal, true);
  }));

Deno.test("SIGTERM while trying to reach a server ends with 130 soon", async () => {
  const [port] = await freePorts(1);
  const url = ["--nats-url", `nats://127.0.0.1:${port}`, "--connect-timeout", "600"];
  const child = cliProcess(["migrate-to-sqlite", "--db", "none.db", "--json", ...url]);
  await child.seen(/preflight/);
  const began = performance.now();
  child.kill("SIGTERM");
  const ended = await child.ended;
  assert.equal(ended.code, 130, ended.stderr);
  assert.equal(documentOf(ended).error.code, "aborted");
  assert.ok(performance.now() - began < 120_000);
});
