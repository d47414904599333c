import assert from "node:assert/strict";
import { createClient } from "../../../src/client/mod.ts";
import { createControlPlane } from "../../../src/http/control_plane.ts";
import { openSqlite } from "../../../src/sqlite/mod.ts";
import { isProblem, someone, testPlane } from "../kit.ts";
import { failsWith } from "../../helpers/sqlite.ts";

const LINE = "POST /v1/register/check";
Deno.test("whether an invite is good is told without a signature, and spends nothing", async () => {
  await using it = await testPlane();
  const { token, invite } = await it.store.createInvite({ createdBy: "cli", role: "admin" });
  for (let i = 0; i < 2; i++) {
    const { status, json } = await it.ask(LINE, { body: { token } });
    assert.equal(status, 200);
    assert.deepEqual(json, { role: "admin", expiresAt: invite.expiresAt });
  }
  assert.deepEqual(await it.store.getInvite(invite.id), invite);
  await it.store.createRoom({ id: "r", subject: "room.r", owner: someone(), encrypted: false });
  const body = { token: (await it.store.createInvite({ createdBy: "cli", room: "r" })).token };
  assert.equal((await it.ask(LINE, { body })).json.room, "r");
});

Deno.test("a used, expired, canceled or unknown invite is told by the code that redeeming it gives", async () => {
  let now = new Date();
  const clock = () => now;
  await using store = openSqlite(":memory:", { clock });
  const plane = createControlPlane(store, { clock });
  const client = createClient({ url: "http://localhost:8470", fetch: (it) => plane.fetch(it) });
  const make = () => store.createInvite({ createdBy: "cli" });
  const [used, canceled, late] = [await make(), await make(), await make()];
  const { signPub, kexPub } = someone();
  await store.consumeInvite(used.token, { signPub, kexPub, handle: "ada" });
  await store.cancelInvite(canceled.invite.id);
  assert.equal((await client.checkInvite(late.token)).role, "user");
  now = new Date(Date.parse(late.invite.expiresAt) + 1);
  await failsWith("invite_used", () => client.checkInvite(used.token));
  await failsWith("invite_canceled", () => client.checkInvite(canceled.token));
  await failsWith("invite_expired", () => client.checkInvite(late.token));
  await failsWith("not_found", () => client.checkInvite("0".repeat(64)));
  const message = await failsWith("invalid", () => client.checkInvite("secret"));
  assert.ok(!message.includes("secret"));
});

Deno.test("asking is limited by address, apart from registering and from any signature", async () => {
  await using it = await testPlane({ registrationsPerMinute: 2 });
  const { token } = await it.store.createInvite({ createdBy: "cli" });
  const check = (body: unknown) => it.ask(LINE, { body });
  assert.equal((await check({ token: "0".repeat(64) })).status, 404);
  assert.equal((await check({ token })).status, 200);
  isProblem(await check({ token }), 429, "rate_limited");
  const as = someone();
  const body = { token, kexPub: as.kexPub, handle: "ada" };
  assert.equal((await it.ask("POST /v1/register", { as, body })).status, 201);
});
