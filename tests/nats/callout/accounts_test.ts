import assert from "node:assert/strict";
import { openJetStream } from "../../../mod.ts";
import { grantOf, permissionsOf } from "../../../src/nats/callout/grant.ts";
import { busAccounts, formatBusAccounts, isDataPlaneSubject } from "../../../src/nats/mod.ts";
import { admitted, enforce, enrol, enter, newPeer, newServiceKeys, openRoom } from "./bus.ts";
import { configSecrets, formatNatsConfig } from "../../../src/nats/server/config.ts";
import { testServer } from "../../helpers/nats.ts";

Deno.test("a server that somebody else runs works with the text we give for its configuration", async () => {
  const keys = newServiceKeys();
  const text = formatBusAccounts({ mode: "enforce", keys });
  assert.equal(text.match(/allowed_connection_types: \[\s+"STANDARD"\s+\]/g)?.length, 2);
  for (const it of [keys.service, keys.system, keys.issuer]) {
    assert.ok(text.includes(it.publicKey));
    assert.ok(!text.includes(it.seed));
  }
  await using server = await testServer({ extra: text });
  const nkeySeed = keys.service.seed;
  await using store = await openJetStream({ servers: server.url, nkeySeed });
  await using _ = await enforce(server.url, keys, store);
  const peer = await enrol(store);
  await openRoom(store, "r", peer);
  await using client = await admitted(server.port, peer);
  assert.ok(await client.mayPublish("room.r"));
  assert.ok(!await client.mayPublish("$JS.API.INFO"));
  assert.equal(await enter(server.port, newPeer()), null);
});

Deno.test("clients have streams of their own unless enforce is set, and never the control plane's", () => {
  const keys = newServiceKeys();
  const of = (mode: "off" | "soft" | "enforce") => busAccounts({ mode, keys });
  assert.deepEqual(
    (["off", "soft", "enforce"] as const).map((mode) => of(mode).accounts.APP!.jetstream),
    [true, true, false],
  );
  for (const mode of ["off", "soft", "enforce"] as const) {
    const { accounts, authorization, noAuthUser, systemAccount } = of(mode);
    assert.deepEqual(accounts.CONTROL, {
      jetstream: true,
      users: [{ nkey: keys.service.publicKey, connectionTypes: ["STANDARD"] }],
    });
    const system = { nkey: keys.system.publicKey, connectionTypes: ["STANDARD"] };
    assert.deepEqual(accounts[systemAccount], { users: [system] });
    assert.equal(noAuthUser, mode === "off" ? "anyone" : undefined);
    assert.equal(authorization.callout!.account, "CONTROL");
  }
});

Deno.test("passwords of users in accounts count as secrets, and an account's name is only a name", () => {
  const users = [{ user: "ada", password: "hunter2/x" }];
  assert.deepEqual(configSecrets({ accounts: { A: { users } } }), ["hunter2/x", "hunter2%2Fx"]);
  assert.match(formatNatsConfig({ accounts: { A: { users } } }, "ports"), /A: \{\s+users: \[/);
  for (const name of ["", "a b", "a}", "1", "a\nb", '"a"']) {
    assert.throws(() => formatNatsConfig({ accounts: { [name]: {} } }, "ports"), {
      code: "invalid",
    });
  }
});

Deno.test("isDataPlaneSubject() takes plain subjects only", () => {
  for (const it of ["a", "a.b", "chat.general", "città.1", "a.$b", "a._INBOX", "a-b_c/d"]) {
    assert.ok(isDataPlaneSubject(it), it);
  }
  const odd = ["", ".", "a.", ".a", "a..b", "*", ">", "a.*", "a.>", "a*b", "a>b", "$SYS", "$a.b"];
  odd.push("$JS.API.INFO", "$KV.x", "$O.x", "_INBOX", "_INBOX.x", "_R_.x", "_", "a b", "a\tb");
  odd.push("a\r\nPUB x", "a\u0000", "a\u00a0b", "a\u2028");
  for (const it of odd) assert.ok(!isDataPlaneSubject(it), JSON.stringify(it));
});

Deno.test("a grant's id says what it allows: equal for equal subjects, in whatever order and rooms", () => {
  const of = (...subjects: string[]) =>
    grantOf(
      "me",
      subjects.map((subject, i) => ({ id: `r${i}`, subject, owner: "", createdAt: "" })),
    );
  assert.equal(of("a", "b").id, of("b", "a").id);
  assert.equal(of("a", "b").id, of("a", "b", "a", "b.c").id);
  const ids = [of(), of("a"), of("b"), of("a", "b"), of("a.b"), of("ab")].map((it) => it.id);
  assert.equal(new Set(ids).size, ids.length);
  for (const id of ids) assert.match(id, /^[0-9a-f]{32}$/);
  // Also of no rooms: an empty list would mean everything.
  const { pub, sub } = permissionsOf("UX", of());
  assert.deepEqual([pub.allow, sub.allow], [["_INBOX.>"], ["_INBOX.UX.>"]]);
});

Deno.test("of more rooms than fit one's own count first, then the oldest", () => {
  const room = (i: number) => ({
    id: `r${i}`,
    subject: `${"x".repeat(240)}${i}`,
    owner: "other",
    createdAt: new Date(1e12 + i).toISOString(),
  });
  // The newest of all.
  const own = { ...room(9999), id: "own", subject: "mine", owner: "me" };
  const rooms = Array.from({ length: 3000 }, (_, i) => room(i));
  const grant = grantOf("me", [...rooms, own]);
  assert.ok(grant.subjects.includes("mine"));
  assert.ok(grant.leftOut.length > 2000 && grant.leftOut.includes("r2999"));
  assert.ok(!grant.leftOut.includes("r0"));
  assert.ok(!grantOf("other", [...rooms, own]).subjects.includes("mine"));
  // Encoded twice it fits into a message of the server's usual size.
  const { length } = JSON.stringify(permissionsOf("U".repeat(56), grant));
  assert.ok(length * 16 / 9 < 1_000_000, `${length}`);
  assert.equal(grantOf("me", [own, ...rooms.toReversed()]).id, grant.id);
});
