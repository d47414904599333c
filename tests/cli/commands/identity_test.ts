/** `identity create|show`, and commands that take its file. */

import assert from "node:assert/strict";
import { readFileSync, statSync } from "node:fs";
import { execFileSync } from "node:child_process";
import { importIdentity, readIdentity } from "@unibus/membership/client";
import { loadServiceKeys } from "../../../src/nats/connection/service_keys.ts";
import { cli } from "../kit.ts";
import { inDir } from "../../helpers/sqlite.ts";

const isWindows = Deno.build.os === "windows";

Deno.test("identity create keeps the keys in a file for its owner and shows the public ones", async () => {
  await inDir(async (dir) => {
    const file = `${dir}/ada.json`;
    const made = await cli(["identity", "create", file, "--json"]);
    assert.equal(made.code, 0, made.stderr);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    const text = readFileSync(file, "utf8");
    const identity = importIdentity(text);
    const { signPub, kexPub, nkey } = JSON.parse(made.stdout);
    assert.deepEqual([signPub, kexPub], [identity.signPub, identity.kexPub]);
    assert.match(nkey, /^U[A-Z2-7]{55}$/);
    const { signSeed, kexSeed } = JSON.parse(text);
    const shown = await cli(["identity", "show", file]);
    for (const secret of [signSeed, kexSeed]) {
      assert.ok(!`${made.stdout}${made.stderr}${shown.stdout}${shown.stderr}`.includes(secret));
    }
    const again = await cli(["identity", "create", file]);
    assert.equal(again.code, 1);
    assert.match(again.stderr, /the file already exists/);
    assert.equal(readFileSync(file, "utf8"), text);
  });
});

Deno.test(
  "identity show does not wait for a pipe that nobody writes to",
  { ignore: isWindows },
  () =>
    inDir(async (dir) => {
      const pipe = `${dir}/pipe`;
      execFileSync("mkfifo", ["-m", "600", pipe]);
      for (const args of [["identity", "show"], ["user", "add", "--handle", "a", "--identity"]]) {
        const { code, stderr } = await cli([...args, pipe]);
        assert.notEqual(code, 0);
        assert.match(stderr, /pipe: it is not a regular file/);
      }
      // It does not open the keys of the services from there either.
      await assert.rejects(loadServiceKeys(pipe), { code: "refused" });
      await assert.rejects(readIdentity(dir), { code: "invalid" });
    }),
);

Deno.test("a user is added, and an invite redeemed, by the file of an identity", async () => {
  await inDir(async (dir) => {
    const db = `${dir}/it.db`;
    const made = async (name: string) => {
      const { stdout } = await cli(["identity", "create", `${dir}/${name}.json`, "--json"]);
      return JSON.parse(stdout).signPub as string;
    };
    const [ada, bob] = [await made("ada"), await made("bob")];
    const add = [
      "user",
      "add",
      "--create",
      "--admin",
      "--handle",
      "ada",
      "--identity",
      `${dir}/ada.json`,
    ];
    assert.equal((await cli([...add, "--db", db])).code, 0);
    const invite = await cli(["invite", "create", "--db", db, "--json"]);
    const redeem = ["invite", "redeem", "--token-file", "-", "--handle", "bob", "--db", db];
    const { token } = JSON.parse(invite.stdout);
    const done = await cli([...redeem, "--identity", `${dir}/bob.json`], { stdin: token });
    assert.equal(done.code, 0, done.stderr);
    const { stdout } = await cli(["user", "list", "--db", db, "--json"]);
    const users = JSON.parse(stdout).users as { signPub: string; role: string }[];
    assert.deepEqual(
      Object.fromEntries(users.map((it) => [it.signPub, it.role])),
      { [ada]: "admin", [bob]: "user" },
    );
  });
});

Deno.test("an identity that is none, or not there, is refused, and shows nothing of the file", async () => {
  await inDir(async (dir) => {
    Deno.writeTextFileSync(`${dir}/other.json`, '{"secret":"hush"}');
    const found = await cli(["identity", "show", `${dir}/other.json`]);
    assert.equal(found.code, 2);
    assert.match(found.stderr, /not a key file/);
    assert.ok(!found.stderr.includes("hush"));
    const missing = await cli(["identity", "show", `${dir}/none.json`]);
    assert.match(missing.stderr, /no such file/);
    const both = ["user", "add", "--handle", "a", "--identity", "x", "--sign-pub", "y"];
    assert.equal((await cli(both)).code, 2);
  });
});
