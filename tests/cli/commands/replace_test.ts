import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { openJetStream, openSqlite } from "../../../mod.ts";
import { cli, cliProcess, documentOf } from "../kit.ts";
import { testServer } from "../../helpers/nats.ts";
import { daemon } from "../serve/kit.ts";
import { failsWith, inDir, person } from "../../helpers/sqlite.ts";
import { writeDataset } from "../../tools/dataset.ts";

/** A file with records, its snapshot, and the snapshot of other records. */
async function two(dir: string): Promise<{ db: string; mine: string; other: string }> {
  const [db, mine, other] = [`${dir}/a.db`, `${dir}/mine.ndjson`, `${dir}/other.ndjson`];
  for (const [seed, file, to] of [["a", db, mine], ["b", `${dir}/b.db`, other]] as const) {
    writeDataset(file, { records: 300, seed });
    assert.equal((await cli(["snapshot", "export", to, "--db", file])).code, 0);
  }
  return { db, mine, other };
}

Deno.test("import --replace saves a file's records beside it first, for its owner only", () =>
  inDir(async (dir) => {
    const { db, mine, other } = await two(dir);
    const { code, stdout } = await cli(["snapshot", "import", other, "--db", db, "--replace"]);
    assert.equal(code, 0);
    const [, saved] = /^saved previous contents -> (.+)$/m.exec(stdout)!;
    assert.ok(saved!.startsWith(`${db}.replaced-`));
    assert.deepEqual(readFileSync(saved!), readFileSync(mine));
    assert.equal(statSync(saved!).mode & 0o777, 0o600);
    assert.equal((await cli(["snapshot", "diff", db, other])).code, 0);

    const back = ["snapshot", "import", saved!, "--db", db, "--replace", "--json"];
    const document = documentOf(await cli(back));
    assert.deepEqual(readFileSync(document.saved), readFileSync(other));
    assert.equal((await cli(["snapshot", "diff", db, mine])).code, 0);
  }));

Deno.test("import --replace into an empty or new store saves nothing", () =>
  inDir(async (dir) => {
    const { mine } = await two(dir);
    await openSqlite(`${dir}/empty.db`).close();
    for (const name of ["empty", "new"]) {
      const args = ["snapshot", "import", mine, "--db", `${dir}/${name}.db`, "--replace", "--json"];
      assert.equal(documentOf(await cli(args)).saved, null);
    }
    assert.deepEqual(readdirSync(dir).filter((it) => it.includes("replaced")), []);
  }));

Deno.test("import --replace is refused while a server uses the file, and changes nothing", () =>
  inDir(async (dir) => {
    const { db, other } = await two(dir);
    const users = async () => (await cli(["user", "list", "--db", db])).stdout;
    const before = await users();
    await using server = await daemon(dir);
    const args = ["snapshot", "import", other, "--db", db, "--replace", "--json"];
    const refused = await cli(args);
    assert.equal(refused.code, 1);
    assert.equal(documentOf(refused).error.code, "refused");
    assert.match(refused.stderr, /in use by another process.*\nhint: stop the server first/);
    await server.stop();
    // Of invites the server itself removes those that are long over.
    assert.equal(await users(), before);
    assert.deepEqual(readdirSync(dir).filter((it) => it.includes("replaced")), []);
    assert.equal((await cli(args)).code, 0);
  }));

Deno.test("import --replace saves what a bucket holds, and is refused while a server listens", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const { mine, other } = await two(dir);
    const nats = ["--nats-url", server.url, "--bucket", "MINE"];
    assert.equal((await cli(["snapshot", "import", mine, ...nats])).code, 0);
    const replace = ["snapshot", "import", other, ...nats, "--replace", "--json"];
    {
      await using serving = await openJetStream({ servers: server.url, bucket: "MINE" });
      await serving.hasAdmin(); // From here on it listens.
      const refused = await cli(replace);
      assert.equal(documentOf(refused).error.code, "refused");
      assert.match(refused.stderr, /Bucket MINE is in use by 1 store;/);
      assert.equal((await cli(["snapshot", "diff", "@nats", mine, ...nats])).code, 0);
    }
    const done = await cliProcess(replace, { cwd: dir }).ended;
    assert.equal(done.code, 0, done.stderr);
    const { saved } = documentOf(done);
    assert.match(saved, /^\.\/MINE\.replaced-\w+\.ndjson$/);
    assert.deepEqual(readFileSync(`${dir}/${saved}`), readFileSync(mine));
    assert.equal((await cli(["snapshot", "diff", "@nats", other, ...nats])).code, 0);
  }));

Deno.test("a file that is opened alone lets nobody in, and works like any other", () =>
  inDir(async (dir) => {
    const path = `${dir}/a.db`;
    {
      await using store = openSqlite(path, { exclusive: true });
      await store.addUser(person("ada"));
      await failsWith("unavailable", () => openSqlite(path, { busyTimeout: 0 }), /locked/);
      const [{ kind } = {}] = await Array.fromAsync(store.records());
      assert.equal(kind, "users");
    }
    await using idle = openSqlite(path);
    // There is a log that is not written back yet: it is looked at before the file is.
    await idle.addUser(person("bob"));
    assert.ok(statSync(`${path}-wal`).size > 0);
    const alone = { exclusive: true, busyTimeout: 0 };
    await failsWith("refused", () => openSqlite(path, alone), /in use by another/);
    assert.equal((await idle.getUser(person("ada").signPub)).handle, "user ada");
  }));
