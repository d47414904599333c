import assert from "node:assert/strict";
import { copyFileSync, existsSync, readdirSync } from "node:fs";
import { openJetStream, openSqlite } from "../../../mod.ts";
import { cli, documentOf, type Result } from "../kit.ts";
import { testServer } from "../../helpers/nats.ts";
import { filesOf, inDir, person } from "../../helpers/sqlite.ts";
import { writeDataset } from "../../tools/dataset.ts";

async function ok(args: string[]): Promise<Result> {
  const result = await cli(args);
  assert.equal(result.code, 0, `${args.join(" ")}\n${result.stderr}`);
  return result;
}

Deno.test("migrate-to-kv says what the operator needs: backup, counts, digests, the way back", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const db = `${dir}/unibus.db`;
    const n = writeDataset(db, { records: 2000 });
    const flags = ["--db", db, "--nats-url", server.url];
    const { stdout, stderr } = await ok(["migrate-to-kv", ...flags]);
    const lines = stdout.trimEnd().split("\n");
    const [, backup] = /^backed up (?:.+) -> (.+)$/.exec(lines[0]!)!;
    assert.equal(
      lines[1],
      `migrated to KV (replicas=1): ${n.rooms} rooms, ${n.members} members, ${n.room_keys} keys, ` +
        `${n.users} users, ${n.invites} invites`,
    );
    assert.equal(lines.filter((it) => /^sha256 \w+ +[0-9a-f]{64}$/.test(it)).length, 6);
    assert.match(stdout, /^took \d+\.\d\d s, \d+ records\/s/m);
    assert.equal(lines.at(-1), `rollback: restore ${backup} if needed`);
    assert.match(stderr, /^done: \d+ records$/m);
    assert.match((await ok(["snapshot", "diff", db, backup!])).stdout, /^equal/);

    const again = documentOf(await ok(["migrate-to-kv", ...flags, "--no-backup", "--json"]));
    assert.deepEqual([again.target, again.written, again.removed], ["repeated", 0, 0]);
    assert.deepEqual([again.backup, again.counts], [null, n]);
    assert.ok(again.recordsPerSecond > 0);
    assert.equal((await ok(["verify", ...flags])).stdout.split(":")[0], "equal");

    const back = ["--nats-url", server.url, "--db", `${dir}/back.db`];
    const report = documentOf(await ok(["migrate-to-sqlite", ...back, "--json"]));
    assert.deepEqual([report.counts, report.digests], [n, again.digests]);
    await ok(["snapshot", "diff", db, `${dir}/back.db`]);
  }));

Deno.test("--dry-run says what would be done and does nothing", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const db = `${dir}/unibus.db`;
    writeDataset(db, { records: 300 });
    const args = ["migrate-to-kv", "--db", db, "--nats-url", server.url, "--dry-run"];
    const { stdout } = await ok(args);
    assert.match(stdout, /^dry run: nothing was written\nwould be migrated to KV \(replicas=1\)/);
    assert.equal(documentOf(await ok([...args, "--json"])).dryRun, true);
    assert.deepEqual(readdirSync(dir).filter((it) => it.includes("backup")), []);
    const { stderr } = await cli(["user", "list", "--nats-url", server.url]);
    assert.match(stderr, /No bucket UNIBUS/);
    await ok(["migrate-to-kv", "--db", db, "--nats-url", server.url, "--no-backup"]);
    const back = ["--nats-url", server.url, "--db", `${dir}/back.db`, "--dry-run"];
    await ok(["migrate-to-sqlite", ...back]);
    assert.ok(!existsSync(`${dir}/back.db`));
  }));

Deno.test("--backup names the backup", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const db = `${dir}/unibus.db`;
    writeDataset(db, { records: 300 });
    const flags = ["--db", db, "--nats-url", server.url, "--backup", `${dir}/mine.db`];
    const { stdout } = await ok(["migrate-to-kv", ...flags]);
    assert.equal(stdout.split("\n")[0], `backed up ${db} -> ${dir}/mine.db`);
    const taken = await cli(["migrate-to-kv", ...flags]);
    assert.equal(taken.code, 1);
  }));

Deno.test("verify lists every difference by key, with exit code 3, and writes nothing", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const db = `${dir}/unibus.db`;
    writeDataset(db, { records: 1000 });
    const flags = ["--db", db, "--nats-url", server.url];
    await ok(["migrate-to-kv", ...flags, "--no-backup"]);
    const [bucketOnly, fileOnly] = [person("bucket").signPub, person("file").signPub];
    await using bucket = await openJetStream({ servers: server.url });
    await bucket.addUser(person("bucket"));
    await using file = openSqlite(db, { allowMoved: true });
    await file.addUser(person("file"));
    const { items: [room] } = await bucket.listRooms({ limit: 1 });
    await bucket.deleteRoom(room!.id);
    await file.close();

    const before = filesOf(dir)["unibus.db"];
    const human = await cli(["verify", ...flags]);
    assert.equal(human.code, 3);
    assert.ok(human.stdout.includes(`only in bucket UNIBUS: users ${bucketOnly}\n`));
    assert.ok(human.stdout.includes(`only in ${db}: users ${fileOnly}\n`));
    assert.ok(human.stdout.includes(`only in ${db}: rooms ${room!.id}\n`));
    assert.match(human.stdout, /^different: \d+ differences/m);
    const json = await cli(["verify", ...flags, "--json"]);
    assert.equal(json.code, 3);
    const { equal, differences, sqlite, kv } = documentOf(json);
    assert.equal(equal, false);
    const find = (key: string) =>
      differences.find((it: { key: string }) => it.key === `users ${key}`)?.change;
    assert.deepEqual([find(bucketOnly), find(fileOnly)], ["only-kv", "only-sqlite"]);
    assert.equal(sqlite.counts.rooms, kv.counts.rooms + 1);
    assert.equal(filesOf(dir)["unibus.db"], before);
  }));

Deno.test("a bucket written since the move is refused with a hint, and --replace saves it first", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const db = `${dir}/unibus.db`;
    writeDataset(db, { records: 500 });
    const flags = ["--db", db, "--nats-url", server.url, "--no-backup"];
    await ok(["migrate-to-kv", ...flags]);
    await ok(["invite", "create", "--nats-url", server.url]);
    const refused = await cli(["migrate-to-kv", ...flags, "--json"]);
    assert.equal(refused.code, 1);
    assert.equal(documentOf(refused).error.code, "refused");
    assert.match(refused.stderr, /which would be lost.*\nhint: .*--replace/);
    const { stdout } = await ok(["migrate-to-kv", ...flags, "--replace"]);
    const [, saved] = /^saved previous contents -> (.+)$/m.exec(stdout)!;
    await ok(["snapshot", "verify", saved!]);
    await ok(["verify", "--db", db, "--nats-url", server.url]);
  }));

Deno.test("a source in use is refused", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const db = `${dir}/unibus.db`;
    writeDataset(db, { records: 300 });
    await using _user = openSqlite(db);
    const { code, stderr } = await cli(["migrate-to-kv", "--db", db, "--nats-url", server.url]);
    assert.equal(code, 1);
    assert.match(stderr, /in use by another process.*\nhint: stop the server first/);
  }));

Deno.test("doctor tells of a bucket's server, disk, replicas, mark and index", () =>
  inDir(async (dir) => {
    await using server = await testServer({ monitoringPort: -1 });
    const db = `${dir}/unibus.db`;
    writeDataset(db, { records: 500 });
    const nats = ["--nats-url", server.url];
    await ok(["migrate-to-kv", "--db", db, ...nats, "--no-backup"]);
    const monitor = ["--monitor-url", server.monitoringUrl!];
    const { findings, healthy } = documentOf(
      await ok(["doctor", ...nats, ...monitor, "--store-dir", `${dir}/blobs`, "--json"]),
    );
    assert.equal(healthy, true);
    const checks = findings.map((it: { check: string; level: string }) =>
      `${it.check} ${it.level}`
    );
    assert.deepEqual(
      checks.sort(),
      [
        "admins",
        "archive",
        "blobs",
        "copies",
        "fsync",
        "history",
        "index",
        "marker",
        "records",
        "replicas",
        "rooms",
        "server",
      ].map(
        (it) => `${it} ok`,
      ),
    );
    await ok(["doctor", ...nats, "--repair"]);
    assert.match((await ok(["doctor", ...nats])).stdout, /^unknown +fsync/m);
  }));

Deno.test("the same records moved from two files give the same digests", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const db = `${dir}/unibus.db`;
    writeDataset(db, { records: 300 });
    copyFileSync(db, `${dir}/copy.db`);
    const move = async (file: string, bucket: string) =>
      documentOf(
        await ok(
          `migrate-to-kv --db ${file} --nats-url ${server.url} --bucket ${bucket} --no-backup --json`
            .split(" "),
        ),
      ).digests;
    assert.deepEqual(await move(db, "A"), await move(`${dir}/copy.db`, "B"));
  }));
