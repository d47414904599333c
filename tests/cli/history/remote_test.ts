/** `log --url`: the history of a server, read over HTTP with an identity. */

import assert from "node:assert/strict";
import { openSqlite } from "../../../mod.ts";
import { createControlPlane, serve } from "../../../src/http/mod.ts";
import { createIdentity, exportIdentity } from "../../../src/keys/identity.ts";
import { lockIdentity } from "../../../src/keys/passphrase.ts";
import { inDir, person } from "../../helpers/sqlite.ts";
import { cli } from "../kit.ts";

Deno.test("log --url reads and follows the history of a server in the name of an admin", () =>
  inDir(async (dir) => {
    await using store = openSqlite(":memory:");
    const [ada, bob] = [createIdentity(), createIdentity()];
    await store.addUser({ ...ada, handle: "ada", role: "admin" });
    await store.addUser({ ...bob, handle: "bob", role: "user" });
    await using server = await serve(createControlPlane(store, { busAuth: "enforce" }));
    const write = (name: string, text: string) =>
      Deno.writeTextFile(`${dir}/${name}`, text, { mode: 0o600 });
    await write("ada.json", exportIdentity(ada));
    await write("bob.json", exportIdentity(bob));
    await write("locked.json", await lockIdentity(ada, "a passphrase"));
    await write("pass", "a passphrase\n");
    const log = ["log", "--url", server.url];
    const as = (name: string) => ["--identity", `${dir}/${name}.json`];
    const shown = await cli([...log, ...as("ada")]);
    assert.equal(shown.code, 0, shown.stderr);
    assert.match(shown.stdout, /^\S+Z +0\.1 .*\(ada\).*\n\S+Z +0\.2 +user\.added .*\(bob\).*\n$/);
    const locked = [...log, ...as("locked"), "--passphrase-file", `${dir}/pass`, "--json"];
    const filtered = await cli([...locked, "--user", bob.signPub]);
    assert.equal(filtered.code, 0, filtered.stderr);
    assert.equal(JSON.parse(filtered.stdout).revision, "0.2");
    const refused = await cli([...log, ...as("bob")]);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /forbidden|admin/i);
    for (
      const args of [
        log,
        ["log", ...as("ada")],
        [...log, ...as("ada"), "--db", `${dir}/a.db`],
      ]
    ) assert.equal((await cli(args)).code, 2, args.join(" "));

    const ctrlC = new AbortController();
    const seen = Promise.withResolvers<void>();
    let lines = 0;
    const following = cli([...log, ...as("ada"), "--follow", "--json", "--limit", "1"], {
      signal: ctrlC.signal,
      onStdout: () => {
        if (++lines === 1) void store.addUser(person("eve"));
        if (lines === 2) seen.resolve();
      },
    });
    await Promise.race([seen.promise, following]);
    ctrlC.abort();
    const { code, stdout, stderr } = await following;
    assert.equal(code, 0, stderr);
    const users = stdout.trimEnd().split("\n").map((it) => JSON.parse(it).user);
    assert.deepEqual(users, [bob.signPub, person("eve").signPub]);
  }));

Deno.test("nothing that a server answers controls the terminal", () =>
  inDir(async (dir) => {
    const identity = `${dir}/ada.json`;
    await Deno.writeTextFile(identity, exportIdentity(createIdentity()), { mode: 0o600 });
    const hostile = "\u001b]0;x\u0007\u009b2J\u202e";
    const entry = { revision: "0.1", at: hostile, by: hostile, action: hostile, user: null };
    const items = [{ ...entry, room: hostile, invite: null, before: null, after: { x: hostile } }];
    let isRefused = false;
    await using server = await serve({
      fetch: () =>
        isRefused
          ? Response.json({ code: "forbidden", detail: hostile, hint: hostile }, { status: 403 })
          : Response.json({ items, next: null, handles: {} }),
    });
    const log = ["log", "--url", server.url, "--identity", identity];
    for (const flags of [[], ["--json"]]) {
      isRefused = false;
      const shown = await cli([...log, ...flags]);
      assert.equal(shown.code, 0, shown.stderr);
      isRefused = true;
      const refused = await cli([...log, ...flags]);
      assert.equal(refused.code, 1);
      const all = [shown, refused].flatMap((it) => [it.stdout, it.stderr]).join("");
      assert.match(all, /1b\}?\]0;x/);
      // deno-lint-ignore no-control-regex
      assert.doesNotMatch(all, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]|\p{Cf}/u);
    }
  }));
