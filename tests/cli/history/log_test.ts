/** `log`, `log verify`, `log head` and `log prune` on a file. */

import assert from "node:assert/strict";
import { hostname, userInfo } from "node:os";
import { type HistoryEntry, openJetStream, openSqlite } from "../../../mod.ts";
import { isSigned } from "../../../src/history/heads.ts";
import { createNkey, signPubOf } from "../../../src/keys/nkey.ts";
import { loadServiceKeys } from "../../../src/nats/connection/service_keys.ts";
import { testServer } from "../../helpers/nats.ts";
import { inDir, newRoom, person } from "../../helpers/sqlite.ts";
import { credsOf } from "../../nats/connection/false_server.ts";
import { raw } from "../../history/kit.ts";
import { cli, documentOf } from "../kit.ts";

const by = `cli:${userInfo().username}@${hostname()}`;
const [ada, bob] = [person("ada"), person("bob")];
const DAY_MS = 24 * 3600 * 1000;

/** Runs a command on the file of a directory; returns what it printed. */
function commandsIn(dir: string) {
  const run = async (code: number, ...args: string[]) => {
    const result = await cli([...args, "--db", `${dir}/a.db`]);
    assert.equal(result.code, code, `${args.join(" ")}: ${result.stderr}`);
    return result;
  };
  return {
    run,
    ok: async (...args: string[]) => (await run(0, ...args)).stdout,
    entries: async (...args: string[]): Promise<HistoryEntry[]> => {
      const { stdout } = await run(0, "log", "--json", ...args);
      return stdout.split("\n").slice(0, -1).map((it) => JSON.parse(it));
    },
  };
}

/** Makes a history of two users, an invite and a room. */
async function begin(dir: string): Promise<void> {
  await using store = openSqlite(`${dir}/a.db`);
  await store.as(ada.signPub).addUser({ ...ada, role: "admin" });
  await store.as(ada.signPub).addUser({ ...bob, role: "user" });
  await store.as(ada.signPub).createRoom(newRoom("r1"));
  await store.as(bob.signPub).addMember("r1", { endpoint: bob.signPub, kexPub: bob.kexPub });
}

Deno.test("commands that change records act in the name of the user of the system", () =>
  inDir(async (dir) => {
    await begin(dir);
    const { ok, entries } = commandsIn(dir);
    await ok("user", "promote", bob.signPub);
    await ok("user", "revoke", bob.signPub);
    await ok("user", "restore", bob.signPub);
    const { invite } = documentOf({
      code: 0,
      stdout: await ok("invite", "create", "--json"),
      stderr: "",
    });
    await ok("invite", "cancel", invite.id);
    await ok("user", "delete", bob.signPub);
    const found = (await entries("--by", by)).map((it) => it.action);
    assert.deepEqual(found, [
      "user.role_changed",
      "user.revoked",
      "user.restored",
      "invite.created",
      "invite.canceled",
      // Access ends first, then memberships, then the user.
      "user.revoked",
      "member.removed",
      "user.deleted",
    ]);
  }));

Deno.test("log shows the newest entries, the oldest of them first, by filters", () =>
  inDir(async (dir) => {
    await begin(dir);
    const { ok, run, entries } = commandsIn(dir);
    const all = await entries();
    assert.deepEqual(all.map((it) => it.action), [
      "user.added",
      "user.added",
      "room.created",
      "member.added",
    ]);
    const actions = async (...args: string[]) => (await entries(...args)).map((it) => it.revision);
    const [first, second, third, fourth] = all.map((it) => it.revision);
    assert.deepEqual(await actions("--limit", "2"), [third, fourth]);
    assert.deepEqual(await actions("--after", second!), [third, fourth]);
    assert.deepEqual(await actions("--after", first!, "--limit", "1"), [second]);
    assert.deepEqual(await actions("--user", bob.signPub), [second, fourth]);
    assert.deepEqual(await actions("--user", bob.signPub, "--limit", "1"), [fourth]);
    assert.deepEqual(await actions("--room", "r1"), [third, fourth]);
    assert.deepEqual(await actions("--by", bob.signPub), [fourth]);
    assert.deepEqual(await actions("--action", "user.added", "--by", ada.signPub), [first, second]);
    assert.deepEqual(await actions("--since", "1h"), [first, second, third, fourth]);
    assert.deepEqual(await actions("--since", "2999-01-01"), []);
    assert.deepEqual(await actions("--invite", "e".repeat(64)), []);
    const text = (await ok("log")).trimEnd().split("\n");
    assert.equal(text.length, 4);
    const digits = bob.signPub.slice(0, 12);
    assert.match(
      text[1]!,
      new RegExp(`^\\S+Z  0\\.2 +user\\.added +user=${digits}\\(user bob\\)  role=user  by=`),
    );
    assert.match(text[3]!, new RegExp(` room=r1  accepted=true  by=${digits}\\(user bob\\)$`));
    assert.match((await run(0, "log", "--since", "2999-01-01")).stderr, /no entries/);
    await ok("user", "promote", bob.signPub);
    assert.match(await ok("log", "--limit", "1"), /role=user→admin/);
    for (
      const args of [
        ["--user", "x"],
        ["--after", "x"],
        ["--action", "x"],
        ["--since", "yesterday"],
        ["--limit", "0"],
        ["x"],
      ]
    ) {
      const { code } = await cli(["log", ...args, "--db", `${dir}/a.db`]);
      assert.ok(code === 1 || code === 2, args.join(" "));
    }
  }));

Deno.test("log --follow shows each new entry once, until Ctrl-C", () =>
  inDir(async (dir) => {
    await begin(dir);
    const ctrlC = new AbortController();
    let lines = 0;
    const seen = Promise.withResolvers<void>();
    const args = ["log", "--follow", "--json", "--limit", "1", "--action", "user.added"];
    let added = 0;
    const running = cli([...args, "--db", `${dir}/a.db`], {
      signal: ctrlC.signal,
      onStdout: () => {
        if (++lines === 1) void add();
        if (lines === 21) seen.resolve();
      },
    });
    const add = async () => {
      await using store = openSqlite(`${dir}/a.db`);
      for (; added < 20; added++) {
        await store.addUser({ ...person(added), role: "user" });
        await store.createInvite({ createdBy: "ada", role: "user" });
      }
    };
    await Promise.race([seen.promise, running]);
    ctrlC.abort();
    const { code, stdout, stderr } = await running;
    assert.equal(code, 0, stderr);
    const found = stdout.trimEnd().split("\n").map((it) => JSON.parse(it));
    assert.deepEqual(
      found.map((it) => it.user),
      [bob.signPub, ...Array.from({ length: 20 }, (_, i) => person(i).signPub)],
    );
  }));

Deno.test("a name cannot look like another field of its line", () =>
  inDir(async (dir) => {
    await using store = openSqlite(`${dir}/a.db`);
    await store.addUser({ ...ada, handle: `x)  by=${by}` });
    await store.addUser({ ...bob, handle: "Bob" });
    const [first, second] = (await commandsIn(dir).ok("log")).split("\n");
    assert.ok(first!.includes(`user=${ada.signPub.slice(0, 12)}("x)  by=${by}")`), first!);
    assert.ok(second!.includes(`user=${bob.signPub.slice(0, 12)}(Bob)`), second!);
  }));

Deno.test("log verify names the first wrong revision, with the kept heads too", () =>
  inDir(async (dir) => {
    await begin(dir);
    const { ok, run } = commandsIn(dir);
    // Without keys there is nothing to sign with.
    const bare = await run(0, "log", "head");
    assert.match(
      bare.stderr,
      /^warning: the head is not signed, because there are no service keys/,
    );
    const { key, signature } = JSON.parse(bare.stdout);
    assert.deepEqual([key, signature], [null, null]);
    await Deno.writeTextFile(`${dir}/bare.json`, bare.stdout);
    const verifyBare = ["log", "verify", "--head", `${dir}/bare.json`];
    assert.match(await ok(...verifyBare), /^kept head, not signed, of .* revision 0\.4: equal\n/);
    assert.equal(documentOf(await run(0, ...verifyBare, "--json")).witnesses[0].signed, false);
    const keys = await loadServiceKeys(`${dir}/service-keys.json`, { create: true });
    const kept = await ok("log", "head");
    const head = JSON.parse(kept);
    assert.deepEqual(Object.keys(head), ["node", "revision", "head", "at", "key", "signature"]);
    assert.equal(head.revision, "0.4");
    await Deno.writeTextFile(`${dir}/kept.json`, kept);
    const verify = ["log", "verify", "--head", `${dir}/kept.json`];
    const equal = await run(0, ...verify);
    assert.match(equal.stdout, /^kept head of .* revision 0\.4: equal\nequal: 4 entries, up to /);
    assert.match(equal.stderr, /No signed head is stored/);
    assert.equal(keys.service.kind, "user");
    await ok("log", "prune", "--keep-rows", "2");
    assert.match(await ok(...verify), /equal: 3 entries after 0\.2, up to revision 0\.5/);
    const changed = (sql: string) => raw(`${dir}/a.db`, (db) => db.exec(sql));
    changed("UPDATE history SET by = 'eve' WHERE number = 4");
    const found = await run(3, ...verify);
    assert.match(found.stdout, /^problem: Revision 0\.4 does not continue revision 0\.3/);
    assert.match(found.stdout, /different: \d problems? in 3 entries; the first one at .* 0\.4\n$/);
    const document = documentOf(await run(3, ...verify, "--json"));
    assert.equal(document.equal, false);
    assert.equal(document.problems[0].revision, "0.4");
    changed("DELETE FROM history WHERE number > 3");
    for (const it of [verify, verifyBare]) {
      assert.match((await run(3, ...it)).stdout, /the history ends at 0\.3/);
    }
    // The entry of the pruning has gone too.
    assert.match((await run(3, "log", "verify")).stdout, /after revision 0\.2, but no entry says/);
    for (const text of ["", "{}", kept.replace("0.4", "0.5")]) {
      await Deno.writeTextFile(`${dir}/kept.json`, text);
      assert.match((await run(2, ...verify)).stderr, /Reading kept heads/);
    }
    assert.match((await run(2, "log", "verify", "--head", `${dir}/none`)).stderr, /no such file/);
  }));

Deno.test("log prune removes by days and rows, and is an entry itself", () =>
  inDir(async (dir) => {
    const path = `${dir}/a.db`;
    {
      await using old = openSqlite(path, { clock: () => new Date(Date.now() - 10 * DAY_MS) });
      await old.addUser({ ...ada, role: "admin" });
      await old.addUser({ ...bob, role: "user" });
    }
    const { ok, run, entries } = commandsIn(dir);
    await ok("user", "promote", bob.signPub);
    assert.equal(await ok("log", "prune", "--keep-days", "11"), "removed 0 entries\n");
    const pruned = await run(0, "log", "prune", "--keep-days", "9", "--json");
    assert.deepEqual(documentOf(pruned), { removed: 2 });
    assert.match(pruned.stderr, / audit action=pruneHistory by=cli:\S+ removed=2 /);
    const [promoted, told] = await entries();
    assert.equal(promoted!.action, "user.role_changed");
    assert.deepEqual([told!.action, told!.by, told!.after!.count], ["history.pruned", by, 2]);
    assert.equal((await cli(["log", "prune", "--db", path])).code, 2);
    assert.equal((await cli(["log", "prune", "--all", "--keep-rows", "1", "--db", path])).code, 2);
    assert.match((await run(1, "log", "--after", "0.1")).stderr, /pruned up to 0\.2/);
    // A history that is damaged begins anew.
    raw(path, (db) => db.exec("UPDATE history SET by = 'eve' WHERE number = 3"));
    await run(3, "log", "verify");
    assert.equal(await ok("log", "prune", "--all"), "removed 2 entries\n");
    await ok("log", "verify");
    assert.deepEqual((await entries()).map((it) => it.after!.upTo), ["0.4"]);
  }));

Deno.test("log head signs with the key of the credentials that it connects with", () =>
  inDir(async (dir) => {
    const { publicKey, seed } = createNkey("user");
    await using server = await testServer({ authorization: { users: [{ nkey: publicKey }] } });
    {
      await using store = await openJetStream({ servers: server.url, nkeySeed: seed });
      await store.addUser(ada);
    }
    await Deno.writeTextFile(`${dir}/n.creds`, credsOf("e30.e30.e30", seed), { mode: 0o600 });
    const run = async (...args: string[]) => {
      const nats = ["--nats-url", server.url, "--creds", `${dir}/n.creds`];
      const { code, stdout, stderr } = await cli(["log", ...args, ...nats]);
      assert.deepEqual([code, stderr.includes("not signed")], [0, false], stderr);
      return stdout;
    };
    const kept = await run("head");
    const head = JSON.parse(kept);
    assert.equal(head.key, signPubOf(publicKey));
    assert.ok(isSigned(head));
    await Deno.writeTextFile(`${dir}/kept.json`, kept);
    assert.match(await run("verify", "--head", `${dir}/kept.json`), /^kept head of .*: equal\n/);
  }));
