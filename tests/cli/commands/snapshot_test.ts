import assert from "node:assert/strict";
import {
  existsSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { openSqlite } from "../../../mod.ts";
import { cli, documentOf, type Result } from "../kit.ts";
import { testServer } from "../../helpers/nats.ts";
import { filesOf, hex, inDir, person } from "../../helpers/sqlite.ts";
import { writeDataset } from "../../tools/dataset.ts";

async function ok(args: string[], stdin = ""): Promise<Result> {
  const result = await cli(args, { stdin });
  assert.equal(result.code, 0, `${args.join(" ")}\n${result.stderr}`);
  return result;
}

Deno.test("export, verify, import and diff go round, file to bucket and back", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const [db, file, back] = [`${dir}/a.db`, `${dir}/a.ndjson`, `${dir}/b.ndjson`];
    const nats = ["--nats-url", server.url];
    const counts = writeDataset(db, { records: 3000 });

    // The bucket's history has the import.
    const bare = ["--no-history", ...nats];
    const exported = documentOf(await ok(["snapshot", "export", file, "--db", db, "--json"]));
    assert.deepEqual(exported.counts, counts);
    assert.equal(exported.bytes, statSync(file).size);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    const verified = documentOf(await ok(["snapshot", "verify", file, "--json"]));
    assert.deepEqual(verified.digests, exported.digests);

    await ok(["snapshot", "import", file, ...nats]);
    await ok(["snapshot", "export", back, ...bare]);
    assert.deepEqual(readFileSync(back), readFileSync(file));

    const stdout = (await ok(["snapshot", "export", "-", ...bare])).stdout;
    assert.equal(stdout, readFileSync(file, "utf8"));
    await ok(["snapshot", "import", "-", "--db", `${dir}/c.db`], stdout);
    assert.match((await ok(["snapshot", "verify", "-"], stdout)).stdout, /^valid: /);
    for (const other of [back, db, `${dir}/c.db`]) {
      assert.match((await ok(["snapshot", "diff", file, other])).stdout, /^equal: \d+ records/);
    }
    await ok(["snapshot", "diff", "@nats", "-", ...nats], stdout);
    assert.deepEqual(readdirSync(dir).filter((it) => it.includes(".tmp")), []);
  }));

Deno.test("import says whether it took the history of the snapshot", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const [file, nats] = [`${dir}/a.ndjson`, ["--nats-url", server.url]];
    {
      await using store = openSqlite(`${dir}/a.db`);
      for (let i = 0; i < 3; i++) await store.addUser(person(i));
    }
    await ok(["snapshot", "export", file, "--db", `${dir}/a.db`]);
    const imported = await ok(["snapshot", "import", file, "--db", `${dir}/b.db`]);
    assert.match(imported.stdout, /^imported .* 3 entries of the history from /);
    assert.doesNotMatch(imported.stderr, /warning/);
    const again = ["snapshot", "import", file, "--db", `${dir}/b.db`, "--replace", "--json"];
    const replaced = await ok(again);
    assert.equal(documentOf(replaced).history, null);
    assert.match(
      replaced.stderr,
      /history \(3 entries\) was not imported: the file has one already/,
    );
    const into = await ok(["snapshot", "import", file, ...nats]);
    assert.match(
      into.stderr,
      /history \(3 entries\) was not imported: a bucket takes none; .*to-kv/,
    );
    const bare = ["snapshot", "import", file, ...nats, "--bucket", "OTHER", "--no-history"];
    assert.doesNotMatch((await ok(bare)).stderr, /was not imported/);
  }));

Deno.test("diff lists what differs by key and never shows the values", () =>
  inDir(async (dir) => {
    const [a, b] = [`${dir}/a.db`, `${dir}/b.db`];
    await using left = openSqlite(a);
    await using right = openSqlite(b);
    await left.addUser(person("left"));
    await right.addUser(person("right"));
    for (const store of [left, right]) await store.addUser(person("both"));
    await right.revokeUser(person("both").signPub);

    const human = await cli(["snapshot", "diff", a, b]);
    assert.equal(human.code, 3);
    assert.ok(human.stdout.includes(`only in ${a}: users ${person("left").signPub}\n`));
    assert.ok(human.stdout.includes(`only in ${b}: users ${person("right").signPub}\n`));
    assert.match(human.stdout, /^different: users [0-9a-f]{64} \(.*status.*\)$/m);
    assert.match(human.stdout, /^different: 3 differences/m);
    const json = await cli(["snapshot", "diff", a, b, "--json"]);
    assert.equal(json.code, 3);
    const { equal, differences } = documentOf(json);
    assert.equal(equal, false);
    assert.deepEqual(
      differences.map((it: { change: string }) => it.change).sort(),
      ["different", "only-left", "only-right"],
    );
    assert.ok(!(human.stdout + json.stdout).includes(person("left").kexPub));
  }));

Deno.test("export replaces no file unless forced, and only a file", () =>
  inDir(async (dir) => {
    const [db, file] = [`${dir}/a.db`, `${dir}/a.ndjson`];
    writeDataset(db, { records: 200 });
    writeFileSync(file, "mine");
    const refused = await cli(["snapshot", "export", file, "--db", db]);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /use --force to replace it/);
    assert.equal(readFileSync(file, "utf8"), "mine");
    symlinkSync(file, `${dir}/link`);
    await ok(["snapshot", "export", `${dir}/link`, "--db", db, "--force"]);
    await ok(["snapshot", "verify", file]);
    for (const place of [dir, "/dev/null"]) {
      const no = await cli(["snapshot", "export", place, "--db", db, "--force"]);
      assert.equal(no.code, 1, place);
      assert.match(no.stderr, /not a regular file/);
    }
    const nowhere = await cli(["snapshot", "export", `${dir}/no/x`, "--db", db]);
    assert.match(nowhere.stderr, /directory does not exist/);
  }));

Deno.test("an interrupted export leaves no file and what was there", () =>
  inDir(async (dir) => {
    const [db, file] = [`${dir}/a.db`, `${dir}/a.ndjson`];
    writeDataset(db, { records: 500 });
    writeFileSync(file, "before");
    const signal = AbortSignal.abort();
    const args = ["snapshot", "export", file, "--force", "--db", db];
    assert.equal((await cli(args, { signal })).code, 130);
    assert.equal(readFileSync(file, "utf8"), "before");
    assert.deepEqual(readdirSync(dir).filter((it) => it.includes(".tmp")), []);
  }));

Deno.test("a damaged or newer snapshot is named as such, and importing it writes nothing", () =>
  inDir(async (dir) => {
    const [db, file] = [`${dir}/a.db`, `${dir}/a.ndjson`];
    writeDataset(db, { records: 300 });
    await ok(["snapshot", "export", file, "--db", db]);
    const text = readFileSync(file, "utf8");
    const lines = text.split("\n");
    const bad: [string, string, RegExp][] = [
      ["corrupt", text.slice(0, -200), /cut off|trailer/],
      ["corrupt", text.replace('"handle":"', '"handle":"x'), /trailer/],
      ["corrupt", "hello\n", /not a membership snapshot/],
      ["corrupt", "", /empty/],
      ["unsupported", text.replace('"version":1', '"version":3'), /version 3/],
      ["corrupt", [lines[0], lines[2], lines[1], ...lines.slice(3)].join("\n"), /out of order/],
    ];
    for (const [code, content, message] of bad) {
      for (const args of [["verify", "-"], ["import", "-", "--db", `${dir}/new.db`]]) {
        const result = await cli(["snapshot", ...args, "--json"], { stdin: content });
        assert.equal(result.code, 1, message.source);
        assert.equal(documentOf(result).error.code, code);
        assert.match(result.stderr, message);
      }
    }
    assert.ok(!existsSync(`${dir}/new.db`));
    const none = await cli(["snapshot", "verify", `${dir}/none`]);
    assert.equal(none.code, 1);
    assert.match(none.stderr, /no such file/);
  }));

Deno.test("import fills an empty store only, unless it may replace", () =>
  inDir(async (dir) => {
    const [db, other, file] = [`${dir}/a.db`, `${dir}/b.db`, `${dir}/a.ndjson`];
    writeDataset(db, { records: 300, seed: "a" });
    writeDataset(other, { records: 300, seed: "b" });
    await ok(["snapshot", "export", file, "--db", db]);
    const refused = await cli(["snapshot", "import", file, "--db", other, "--json"]);
    assert.equal(documentOf(refused).error.code, "refused");
    assert.equal((await cli(["snapshot", "diff", file, other])).code, 3);
    await ok(["snapshot", "import", file, "--db", other, "--replace"]);
    await ok(["snapshot", "diff", file, other]);
  }));

Deno.test("doctor finds a sound file sound, and a damaged one not, altering neither", () =>
  inDir(async (dir) => {
    const db = `${dir}/a.db`;
    writeDataset(db, { records: 3000 });
    const sound = documentOf(await ok(["doctor", "--db", db, "--json"]));
    assert.equal(sound.healthy, true);
    const checks = sound.findings.map((it: { check: string }) => it.check);
    assert.deepEqual(checks, ["schema", "integrity", "records", "keys", "admin", "history"]);

    const bytes = readFileSync(db);
    // In the middle of a table's page: found by reading it, not by opening the file.
    const page = 4096 * Math.floor(bytes.length / 4096 / 2);
    bytes.fill(0xff, page, page + 4096);
    writeFileSync(db, bytes);
    const before = filesOf(dir)["a.db"];
    const damaged = await cli(["doctor", "--db", db, "--json"]);
    assert.equal(damaged.code, 1);
    const found = documentOf(damaged);
    assert.equal(found.healthy, false);
    assert.ok(found.findings.some((it: { level: string }) => it.level === "problem"));
    assert.equal(filesOf(dir)["a.db"], before);
  }));

Deno.test("doctor warns when there is no admin and when somebody lacks a key", () =>
  inDir(async (dir) => {
    const db = `${dir}/a.db`;
    await using store = openSqlite(db);
    const { signPub, kexPub } = person("owner");
    const sealedKey = new Uint8Array(80);
    await store.createRoom({
      id: "r",
      subject: "unibus.r",
      owner: { endpoint: signPub, kexPub },
      sealedKeys: [{ endpoint: signPub, sealedKey }],
    });
    await store.addMember("r", { endpoint: hex("late"), kexPub: hex("kex") });
    const { healthy, findings } = documentOf(await ok(["doctor", "--db", db, "--json"]));
    assert.equal(healthy, true);
    const warned = findings.filter((it: { level: string }) => it.level === "warning");
    assert.deepEqual(warned.map((it: { check: string }) => it.check), ["keys", "admin"]);
  }));
