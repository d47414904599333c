import assert from "node:assert/strict";
import { existsSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { openJetStream, openSqlite } from "../../../mod.ts";
import { cli, documentOf, type Result } from "../kit.ts";
import { testServer } from "../../helpers/nats.ts";
import { hex, inDir, newRoom, person } from "../../helpers/sqlite.ts";

/** The flags that add a person. */
function personFlags(name: string): string[] {
  const { signPub, kexPub, handle } = person(name);
  return ["--sign-pub", signPub, "--kex-pub", kexPub, "--handle", handle];
}

/** Runs a test on a file and on a bucket. */
function onBoth(name: string, test: (store: string[], dir: string) => Promise<void>): void {
  Deno.test(`${name} (file)`, () => inDir((dir) => test(["--db", `${dir}/unibus.db`], dir)));
  Deno.test(`${name} (bucket)`, () =>
    inDir(async (dir) => {
      await using server = await testServer();
      await test(["--nats-url", server.url, "--bucket", "CLI"], dir);
    }));
}

async function ok(args: string[], stdin = ""): Promise<Result> {
  const result = await cli(args, { stdin });
  assert.equal(result.code, 0, `${args.join(" ")}\n${result.stderr}`);
  return result;
}

onBoth("users are added, listed, shown, revoked, restored and deleted", async (store) => {
  const [ada, bob] = [person("ada"), person("bob")];
  const added = await ok(["user", "add", "--create", ...personFlags("ada"), "--admin", ...store]);
  assert.equal(added.stdout, `added admin user ada ${ada.signPub}\n`);
  const doc = documentOf(await ok(["user", "add", ...personFlags("bob"), "--json", ...store]));
  assert.deepEqual([doc.signPub, doc.role, doc.status], [bob.signPub, "user", "active"]);

  const table = (await ok(["user", "list", ...store])).stdout;
  assert.match(table, /^SIGN-PUB +ROLE +STATUS/);
  assert.ok(table.includes(ada.signPub) && table.includes(bob.signPub));

  const revoked = documentOf(await ok(["user", "revoke", bob.signPub, "--json", ...store]));
  assert.equal(revoked.status, "revoked");
  assert.match((await ok(["user", "show", bob.signPub, ...store])).stdout, /^status +revoked$/m);
  await ok(["user", "restore", bob.signPub.toUpperCase(), ...store]);
  const shown = documentOf(await ok(["user", "show", bob.signPub, "--json", ...store]));
  assert.deepEqual([shown.status, shown.revokedAt], ["active", null]);

  const last = await cli(["user", "revoke", ada.signPub, ...store]);
  assert.equal(last.code, 1);
  assert.match(last.stderr, /last active admin\nhint: use --force/);
  await ok(["user", "revoke", ada.signPub, "--force", ...store]);
  await ok(["user", "delete", ada.signPub, "--force", ...store]);
  const deleted = await ok(["user", "delete", bob.signPub, "--json", ...store]);
  assert.deepEqual(documentOf(deleted), { deleted: bob.signPub });

  const empty = await ok(["user", "list", ...store]);
  assert.deepEqual([empty.stdout, empty.stderr], ["", "no users\n"]);
  assert.deepEqual(documentOf(await ok(["user", "list", "--json", ...store])), {
    users: [],
    next: null,
  });
});

onBoth("adding somebody twice fails, and the error is one JSON document", async (store) => {
  await ok(["user", "add", "--create", ...personFlags("ada"), ...store]);
  const twice = await cli(["user", "add", ...personFlags("ada"), "--json", ...store]);
  assert.equal(twice.code, 1);
  assert.equal(documentOf(twice).error.code, "user_exists");
  assert.match(twice.stderr, /^error: /);
});

onBoth("an invitation's token is shown once, to stdout, and is good once", async (store, dir) => {
  const created = documentOf(
    await ok([
      "invite",
      "create",
      "--create",
      "--role",
      "admin",
      "--note",
      "x",
      "--json",
      ...store,
    ]),
  );
  const { token, invite } = created;
  assert.match(token, /^[0-9a-f]{64}$/);
  const list = await ok(["invite", "list", "--json", ...store]);
  assert.ok(!list.stdout.includes(token));
  assert.deepEqual(documentOf(list).invites[0], { ...invite, state: "open" });

  const redeem = ["invite", "redeem", ...personFlags("ada"), ...store];
  const claimed = await ok([...redeem, "--token-file", "-", "--json"], `${token}\n`);
  assert.equal(documentOf(claimed).role, "admin");
  writeFileSync(`${dir}/token`, token);
  for (const again of [["--token-file", `${dir}/token`], [token]]) {
    const refused = await cli([...redeem, ...again, "--json"]);
    assert.equal(documentOf(refused).error.code, "invite_used");
    assert.ok(!(refused.stdout + refused.stderr).includes(token));
  }
  assert.match((await ok(["invite", "show", invite.id, ...store])).stdout, /^state +used$/m);
});

onBoth("an invitation has the life it was given, and can be canceled", async (store) => {
  const create = [
    "invite",
    "create",
    "--create",
    "--expires",
    "90m",
    "--by",
    "ada",
    "--json",
    ...store,
  ];
  const { invite } = documentOf(await ok(create));
  assert.equal(invite.createdBy, "ada");
  assert.equal(Date.parse(invite.expiresAt) - Date.parse(invite.createdAt), 90 * 60_000);
  assert.equal(
    (await ok(["invite", "cancel", invite.id, ...store])).stdout,
    `canceled ${invite.id}\n`,
  );
  assert.match(
    (await ok(["invite", "list", ...store])).stdout,
    new RegExp(`${invite.id}  canceled`),
  );

  const human = await ok(["invite", "create", ...store]);
  const [, token] = /^token +([0-9a-f]{64})$/m.exec(human.stdout)!;
  assert.ok(!human.stderr.includes(token!));
  const week = documentOf(await ok(["invite", "list", "--json", ...store])).invites
    .find((it: { state: string }) => it.state === "open");
  assert.equal(Date.parse(week.expiresAt) - Date.parse(week.createdAt), 7 * 86_400_000);
});

Deno.test("an invitation can name a room, which must exist", () =>
  inDir(async (dir) => {
    const store = ["--db", `${dir}/a.db`];
    await ok(["invite", "create", "--create", ...store]);
    {
      await using open = openSqlite(`${dir}/a.db`);
      const keys = { signPub: hex("owner"), kexPub: hex("kex") };
      await open.createRoom({ id: "kitchen", subject: "s", owner: keys, encrypted: false });
    }
    const { stdout } = await ok(["invite", "create", "--room", "kitchen", ...store]);
    assert.match(stdout, /^room +kitchen$/m);
    const [, id] = /^id +([0-9a-f]{64})$/m.exec(stdout)!;
    assert.match((await ok(["invite", "show", id!, ...store])).stdout, /^room +kitchen$/m);
    assert.match(
      (await ok(["invite", "list", ...store])).stdout,
      new RegExp(`${id} .* kitchen +-$`, "m"),
    );
    const wrong = await cli(["invite", "create", "--room", "none", "--json", ...store]);
    assert.deepEqual([wrong.code, documentOf(wrong).error.code], [1, "not_found"]);
  }));

Deno.test("a token in the wrong place is not repeated in any message", () =>
  inDir(async (dir) => {
    const token = hex("token");
    await ok(["invite", "create", "--create", "--db", `${dir}/b.db`]);
    const flags = [...personFlags("ada"), "--db", `${dir}/a.db`];
    for (
      const args of [
        ["invite", "redeem", token, token, ...flags],
        ["invite", "redeem", `--token=${token}`, ...flags],
        ["invite", "redeem", `${token}z`, ...flags],
        ["invite", "redeem", token, ...flags],
        ["invite", "redeem", "--token-file", token, ...flags],
        ["invite", "show", token, "--db", `${dir}/b.db`],
        ["invite", "cancel", token, "--db", `${dir}/b.db`],
        ["invite", "redeem", token, "--token-file", "-", ...flags],
        ["invite", "cancel", token, "--db", `${dir}/a.db`, "extra", token],
      ]
    ) {
      const { code, stdout, stderr } = await cli([...args, "--json"]);
      assert.notEqual(code, 0);
      assert.ok(!(stdout + stderr).includes(token), stderr);
    }
  }));

Deno.test("a list pages with limit and after, and is whole without", () =>
  inDir(async (dir) => {
    const db = `${dir}/unibus.db`;
    await using store = openSqlite(db);
    const keys = Array.from({ length: 2345 }, (_, i) => person(i)).map((it) => it.signPub).sort();
    for (let i = 0; i < 2345; i++) await store.addUser(person(i));
    const keysOf = (result: Result): string[] =>
      documentOf(result).users.map((it: { signPub: string }) => it.signPub);

    const whole = await ok(["user", "list", "--json", "--db", db]);
    assert.deepEqual(keysOf(whole), keys);
    assert.equal(documentOf(whole).next, null);
    assert.equal((await ok(["user", "list", "--db", db])).stdout.split("\n").length, 2345 + 2);

    const first = await ok(["user", "list", "--limit", "1500", "--json", "--db", db]);
    assert.deepEqual(keysOf(first), keys.slice(0, 1500));
    assert.equal(documentOf(first).next, keys[1499]);
    const rest = ["user", "list", "--after", keys[1499]!, "--json", "--db", db];
    assert.deepEqual(keysOf(await ok(rest)), keys.slice(1500));
    const human = await ok(["user", "list", "--limit", "2", "--db", db]);
    assert.equal(human.stderr, `more items: --after ${keys[1]}\n`);
  }));

onBoth("a room is shown with its members and who lacks its current key", async (flags, dir) => {
  // The rooms come from a program that embeds the store, as in real life.
  const url = flags[flags.indexOf("--nats-url") + 1]!;
  const store = flags.includes("--db")
    ? openSqlite(flags[1]!)
    : await openJetStream({ servers: url, bucket: "CLI" });
  const id = "büro.監視";
  await store.createRoom({ ...newRoom(id, 3), subject: "unibus.office" });
  await store.createRoom({ ...newRoom("open"), encrypted: false, sealedKeys: [] });
  const { signPub, kexPub } = person("late");
  await store.addMember(id, { endpoint: signPub, kexPub, accepted: false });
  await store.close();
  assert.ok(existsSync(dir));

  const doc = documentOf(await ok(["room", "show", id, "--json", ...flags]));
  assert.deepEqual(doc.lacking, [signPub]);
  assert.equal(doc.members.length, 4);
  assert.equal(doc.room.epoch, 1);
  const human = (await ok(["room", "show", id, ...flags])).stdout;
  assert.match(human, /^lack the key +1$/m);
  assert.match(human, new RegExp(`^${signPub} .* offered .* lacking$`, "m"));
  assert.equal(human.match(/ accepted /g)?.length, 3);
  assert.deepEqual(documentOf(await ok(["room", "show", "open", "--json", ...flags])).lacking, []);

  const rooms = documentOf(await ok(["room", "list", "--json", ...flags])).rooms;
  assert.deepEqual(rooms.map((it: { id: string }) => it.id), [id, "open"]);
  const mine = await ok(["room", "list", "--member", signPub, "--json", ...flags]);
  assert.deepEqual(documentOf(mine).rooms.map((it: { id: string }) => it.id), [id]);
  const offered = (who: string) =>
    ok(["room", "list", "--member", who, "--offered", "--json", ...flags])
      .then((it) => documentOf(it).rooms.length);
  const heir = doc.members.find((it: { role: string; accepted: boolean }) =>
    it.role === "member" && it.accepted
  ).endpoint;
  assert.deepEqual([await offered(signPub), await offered(heir)], [1, 0]);
  const alone = await cli(["room", "list", "--offered", ...flags]);
  assert.deepEqual([alone.code, alone.stdout], [2, ""]);
  assert.match(alone.stderr, /--offered requires --member/);

  // The owner of this room is no user.
  const given = documentOf(await ok(["room", "owner", id, heir, "--json", ...flags]));
  assert.deepEqual(given.room, { ...doc.room, owner: heir });
  assert.match((await ok(["room", "owner", id, heir, ...flags])).stdout, new RegExp(heir));
  const refused = await cli(["room", "owner", id, signPub, ...flags]);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /has not accepted its membership/);

  const none = await cli(["room", "show", "nowhere", ...flags]);
  assert.deepEqual([none.code, none.stdout], [1, ""]);
  assert.match(none.stderr, /^error: No room nowhere$/m);
});

Deno.test("what would break a terminal is shown escaped", () =>
  inDir(async (dir) => {
    const db = `${dir}/unibus.db`;
    await using store = openSqlite(db);
    await store.addUser({ ...person("x"), handle: "a\u202eb" });
    const { stdout } = await ok(["user", "list", "--db", db]);
    assert.ok(stdout.includes("a\\u{202e}b"));
    assert.equal(
      documentOf(await ok(["user", "list", "--json", "--db", db])).users[0].handle,
      "a\u202eb",
    );
  }));

Deno.test("commands that read or change make no file; bad values make none either", () =>
  inDir(async (dir) => {
    const db = ["--db", `${dir}/none.db`];
    const key = hex(1);
    for (
      const args of [
        "user list",
        `user show ${key}`,
        `user promote ${key}`,
        `user demote ${key}`,
        `user revoke ${key}`,
        `user restore ${key}`,
        `user delete ${key}`,
        "invite list",
        `invite show ${key}`,
        `invite cancel ${key}`,
        "invite create",
        `invite redeem ${key} --sign-pub ${key} --kex-pub ${hex(2)} --handle a`,
        `user add --sign-pub ${key} --kex-pub ${hex(2)} --handle a`,
        "room list",
        "room show r",
        `room owner r ${key}`,
        "doctor",
        `snapshot export ${dir}/x`,
      ]
    ) {
      const { code, stderr } = await cli([...args.split(" "), ...db]);
      assert.equal(code, 1, args);
      assert.match(stderr, /no such file\nhint: /);
    }
    const bad = [
      ["user", "add", "--sign-pub", "zz", "--kex-pub", hex(2), "--handle", "a"],
      ["user", "add", "--sign-pub", "0".repeat(64), "--kex-pub", hex(2), "--handle", "a"],
      ["user", "add", "--sign-pub", hex(2), "--kex-pub", "0".repeat(64), "--handle", "a"],
      ["user", "add", "--sign-pub", hex(2), "--kex-pub", hex(3), "--handle", "a\x07"],
      ["invite", "create", "--expires", "367d"],
      ["invite", "create", "--note", "x".repeat(501)],
    ];
    for (const args of bad) {
      const result = await cli([...args, "--json", ...db]);
      assert.equal(result.code, 2, args.join(" "));
      assert.equal(documentOf(result).error.code, "invalid");
      assert.ok(documentOf(result).error.field);
    }
    assert.deepEqual(readdirSync(dir), []);
    const { stderr } = await ok(["invite", "create", "--create", ...db]);
    assert.match(stderr, new RegExp(`^created an empty control plane in ${db[1]}$`, "m"));
    assert.doesNotMatch((await ok(["invite", "create", "--create", ...db])).stderr, /empty/);
    assert.equal(statSync(db[1]!).mode & 0o777, 0o600);
  }));

Deno.test("commands that read or change make no bucket", async () => {
  await using server = await testServer();
  const flags = ["--nats-url", server.url, "--bucket", "NONE"];
  for (
    const args of [["user", "list"], ["doctor"], ["user", "revoke", hex(1)], ["room", "list"], [
      "invite",
      "create",
    ]]
  ) {
    const { code, stderr } = await cli([...args, ...flags]);
    assert.equal(code, 1);
    assert.match(stderr, /^error: No bucket NONE on this server\nhint: /);
  }
});
