/** Identities under a passphrase on the command line. */

import assert from "node:assert/strict";
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { readCard, readIdentity } from "@unibus/membership/client";
import { run } from "../../../cli/run.ts";
import { cli } from "../kit.ts";
import { inDir } from "../../helpers/sqlite.ts";

const PASSPHRASE = "correct horse";

/** Calls the program at a terminal where this is typed, line by line. */
async function typing(args: string[], ...lines: string[]) {
  let stdout = "";
  let stderr = "";
  const code = await run(args, {
    stdout: { isTTY: true, write: (it) => void (stdout += it) },
    stderr: { isTTY: true, write: (it) => void (stderr += it) },
    stdin: (async function* () {})(),
    env: {},
    signal: new AbortController().signal,
    prompt: (question) => {
      stderr += question;
      return Promise.resolve(lines.shift() ?? assert.fail("was asked once too often"));
    },
  });
  assert.deepEqual(lines, []);
  assert.ok(!`${stdout}${stderr}`.includes(PASSPHRASE));
  return { code, stdout, stderr };
}

Deno.test("a passphrase from a file or stdin protects the file; what takes an identity takes this one", () =>
  inDir(async (dir) => {
    const [file, secret] = [`${dir}/ada.json`, `${dir}/passphrase`];
    writeFileSync(secret, `${PASSPHRASE}\nanother line\n`, { mode: 0o600 });
    const made = await cli(["identity", "create", file, "--passphrase-file", secret, "--json"]);
    assert.equal(made.code, 0, made.stderr);
    const { signPub, kexPub, card, locked } = JSON.parse(made.stdout);
    assert.equal(locked, true);
    assert.deepEqual(readCard(card), { endpoint: signPub, kexPub });
    assert.ok(!readFileSync(file, "utf8").includes("signSeed"));
    assert.equal((await readIdentity(file, { passphrase: PASSPHRASE })).signPub, signPub);

    // The public keys need no passphrase, so nobody is asked for one.
    const db = ["--db", `${dir}/a.db`];
    const added = await cli([
      "user",
      "add",
      "--create",
      "--handle",
      "ada",
      "--identity",
      file,
      ...db,
    ]);
    assert.equal(added.code, 0, added.stderr);
    const shown = await cli(["identity", "show", file, "--json"]);
    assert.deepEqual(JSON.parse(shown.stdout), JSON.parse(made.stdout));
    const checked = ["identity", "show", file, "--passphrase-file", "-"];
    assert.equal((await cli(checked, { stdin: `${PASSPHRASE}\r\n` })).code, 0);
    const wrong = await cli(checked, { stdin: "another" });
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /the passphrase is wrong, or the file was changed/);
  }));

Deno.test("a passphrase is asked for twice where it is made, once where it is used", () =>
  inDir(async (dir) => {
    const file = `${dir}/ada.json`;
    const create = ["identity", "create", file, "--passphrase"];
    const differs = await typing(create, PASSPHRASE, "another");
    assert.equal(differs.code, 2);
    assert.match(differs.stderr, /do not match/);
    assert.equal((await typing(create, "")).code, 2);
    assert.ok(!existsSync(file));
    const made = await typing(create, PASSPHRASE, PASSPHRASE);
    assert.equal(made.code, 0, made.stderr);
    assert.match(made.stdout, /^passphrase {2}yes$/m);
    const show = ["identity", "show", file, "--passphrase"];
    assert.equal((await typing(show, PASSPHRASE)).code, 0);
    assert.equal((await typing(show, "another")).code, 2);
    const nobody = await cli(show);
    assert.equal(nobody.code, 2);
    assert.match(nobody.stderr, /requires a terminal/);
  }));

Deno.test("a passphrase that lies open, is empty, or is for nothing is refused, and an open identity named", () =>
  inDir(async (dir) => {
    const [file, secret] = [`${dir}/ada.json`, `${dir}/passphrase`];
    const create = ["identity", "create", file, "--passphrase-file", secret];
    assert.match((await cli(create)).stderr, /no such file/);
    for (const text of ["", "\nsecond"]) {
      writeFileSync(secret, text, { mode: 0o600 });
      assert.match((await cli(create)).stderr, /must not be empty/);
    }
    writeFileSync(secret, "x".repeat(5000));
    assert.match((await cli(create)).stderr, /more than 4096 bytes/);
    writeFileSync(secret, PASSPHRASE);
    chmodSync(secret, 0o604);
    assert.match((await cli(create)).stderr, /chmod o-rwx/);
    assert.ok(!existsSync(file));
    const both = await cli([...create, "--passphrase"]);
    assert.equal(both.code, 2);
    assert.match(both.stderr, /cannot be used with/);
    const onArgv = await cli(["identity", "create", file, "--passphrase", "hush"]);
    assert.equal(onArgv.code, 2);
    assert.ok(!onArgv.stderr.includes("hush"));

    assert.equal((await cli(["identity", "create", file])).code, 0);
    chmodSync(secret, 0o600);
    const plain = await cli(["identity", "show", file, "--passphrase-file", secret]);
    assert.match(plain.stderr, /is not encrypted with a passphrase/);
    chmodSync(file, 0o644);
    const open = await cli(["identity", "show", file]);
    assert.equal(open.code, 0);
    assert.match(open.stderr, /^warning: .*mode 0644.*set the mode to 0600/);
  }));
