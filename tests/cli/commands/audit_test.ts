/**
 * Who changed what: one line for each change of users and invites, from requests and from commands,
 * and no secret in any of them.
 *
 * @module
 */

import assert from "node:assert/strict";
import { hostname, userInfo } from "node:os";
import { openSqlite } from "../../../mod.ts";
import { cli, documentOf } from "../kit.ts";
import { type Someone, someone, testPlane } from "../../http/kit.ts";
import { inDir, person } from "../../helpers/sqlite.ts";

Deno.test("requests: who did what to whom, at level info, and of rooms only a new owner and their end", async () => {
  await using it = await testPlane();
  const admin = await it.user("admin");
  const ask = async (line: string, as: Someone, body?: unknown) =>
    (await it.ask(line, { as, ...body === undefined ? {} : { body } })).json;
  const created = await ask("POST /v1/invites", admin, { role: "user", note: "a note" });
  const { token, invite: { id: invite } } = created;
  const { id: canceled } = (await ask("POST /v1/invites", admin, {})).invite;
  await ask(`POST /v1/invites/${canceled}/cancel`, admin);
  const guest = someone();
  const { kexPub, signPub: user } = guest;
  await ask("POST /v1/register", guest, { token, kexPub, handle: "guest" });
  await ask(`POST /v1/users/${user}/role`, admin, { role: "admin" });
  await ask(`POST /v1/users/${user}/revoke`, admin, {});
  await ask(`POST /v1/users/${user}/restore`, admin);
  const sealedKeys = [{ endpoint: user, sealedKey: "AAAA".repeat(27) }];
  const made = await ask("POST /v1/rooms", guest, { id: "r", encrypted: true, sealedKeys });
  assert.equal(made.id, "r");
  await ask("DELETE /v1/rooms/r", guest);
  await it.store.createRoom({
    id: "left",
    subject: "left",
    encrypted: false,
    owner: { endpoint: someone().signPub, kexPub },
    members: [{ endpoint: user, kexPub }],
  });
  await ask("POST /v1/rooms/left/owner", admin, { endpoint: user });
  await ask(`DELETE /v1/users/${user}`, admin);
  const { signPub: added } = someone();
  await ask("POST /v1/users", admin, { signPub: added, kexPub, handle: "added" });
  const last = await it.ask(`POST /v1/users/${admin.signPub}/revoke`, { as: admin, body: {} });
  assert.equal(last.status, 409);

  const lines = it.events.filter((it) => it.event === "audit");
  const by = admin.signPub;
  const event = (action: string, by: string, about: object, outcome = "done") => ({
    level: "info",
    event: "audit",
    action,
    by,
    proved: true,
    ...about,
    outcome,
  });
  assert.deepEqual(lines, [
    event("createInvite", by, { invite, role: "user" }),
    event("createInvite", by, { invite: canceled, role: "user" }),
    event("cancelInvite", by, { invite: canceled, role: "user" }),
    event("register", user, { invite, user, role: "user" }),
    event("setUserRole", by, { user, role: "admin" }),
    event("revokeUser", by, { user }),
    event("restoreUser", by, { user }),
    event("deleteRoom", user, { room: "r" }),
    event("changeRoomOwner", by, { room: "left", user }),
    event("deleteUser", by, { user }),
    event("addUser", by, { user: added, role: "user" }),
    event("revokeUser", by, { user: by }, "last_admin"),
  ]);
  assert.ok(!JSON.stringify(it.events).includes(token));
});

Deno.test("commands: the same line on stderr, with the user of the system, in the server's log format", () =>
  inDir(async (dir) => {
    const db = ["--db", `${dir}/a.db`];
    const env = { UNIBUS_LOG_FORMAT: "json" };
    const lines: string[] = [];
    const run = async (...args: string[]) => {
      const result = await cli([...args, ...db, "--json"], { env });
      assert.equal(result.code, 0, result.stderr);
      lines.push(...result.stderr.trim().split("\n").filter((it) => it.startsWith("{")));
      return documentOf(result);
    };
    const { signPub: user, kexPub } = person(1);
    await run(
      "user",
      "add",
      "--create",
      "--handle",
      "ada",
      "--sign-pub",
      user,
      "--kex-pub",
      kexPub,
    );
    await run("user", "promote", user);
    await run("user", "demote", user, "--force");
    await run("user", "revoke", user);
    await run("user", "restore", user);
    const { token, invite: { id: invite } } = await run("invite", "create");
    await run("invite", "cancel", invite);
    {
      await using store = openSqlite(`${dir}/a.db`);
      const owner = { endpoint: person(2).signPub, kexPub };
      const members = [{ endpoint: user, kexPub }];
      await store.createRoom({ id: "r", subject: "r", encrypted: false, owner, members });
    }
    await run("room", "owner", "r", user);
    await run("user", "delete", user);
    await run("user", "list");
    const by = `cli:${userInfo().username}@${hostname()}`;
    const found = lines.map((it) => JSON.parse(it)).map(({ time: _, ...it }) => it);
    const event = (action: string, about: object) => ({
      level: "info",
      event: "audit",
      action,
      by,
      ...about,
      outcome: "done",
    });
    assert.deepEqual(found, [
      event("addUser", { user, role: "user" }),
      event("setUserRole", { user, role: "admin" }),
      event("setUserRole", { user, role: "user" }),
      event("revokeUser", { user, role: "user" }),
      event("restoreUser", { user, role: "user" }),
      event("createInvite", { invite, role: "user" }),
      event("cancelInvite", { invite }),
      event("changeRoomOwner", { room: "r", user }),
      // Access ends first, then memberships, then the user.
      event("revokeUser", { user, role: "user" }),
      event("deleteUser", { user }),
    ]);
    assert.ok(!lines.join().includes(token));
    // What was refused changed nothing, and settings of the server that are wrong do not matter.
    const none = await cli(["user", "revoke", user, ...db]);
    assert.equal(none.code, 1);
    assert.doesNotMatch(none.stderr, /audit/);
    const odd = { UNIBUS_HTTP_PORT: "no port" };
    const add = [
      "user",
      "add",
      "--create",
      "--handle",
      "a",
      "--sign-pub",
      user,
      "--kex-pub",
      kexPub,
    ];
    const text = await cli([...add, ...db], { env: odd });
    assert.equal(text.code, 0, text.stderr);
    assert.match(text.stderr, / INFO {2}audit action=addUser by=\S+ user=[0-9a-f]{64} role=user /);
  }));
