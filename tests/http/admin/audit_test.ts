/** The audit lines of the log: who changed users, invites and owners of rooms, also in vain. */

import assert from "node:assert/strict";
import { sealedFor, someone, testPlane } from "../kit.ts";

Deno.test("changes of access are audited with who made them and how they ended, and without secrets", async () => {
  await using it = await testPlane();
  const [admin, owner, next] = [await it.user("admin"), await it.user(), await it.user()];
  const joining = someone();
  const post = (path: string, as = admin, body: unknown = {}) =>
    it.ask(`POST ${path}`, { as, body });
  const user = joining.signPub;
  const { token, invite } = (await post("/v1/invites")).json;
  const claim = { token, kexPub: joining.kexPub, handle: "Ada" };
  await post("/v1/register", joining, claim);
  const late = someone();
  assert.equal((await post("/v1/register", late, claim)).status, 410);
  await post("/v1/users", admin, { signPub: late.signPub, kexPub: late.kexPub, handle: "Late" });
  await post(`/v1/users/${user.toUpperCase()}/role`, admin, { role: "admin" });
  await post(`/v1/users/${user}/role`, admin, { role: "user" });
  await post(`/v1/users/${user}/revoke`);
  await it.ask(`POST /v1/users/${user}/restore`, { as: admin });
  await post(`/v1/users/${admin.signPub}/revoke`);
  await it.ask(`DELETE /v1/users/${user}`, { as: admin });
  const second = (await post("/v1/invites", admin, { role: "admin" })).json.invite.id;
  await it.ask(`POST /v1/invites/${second}/cancel`, { as: admin });
  const endpoint = next.signPub;
  const members = [{ endpoint, kexPub: next.kexPub }];
  await post("/v1/rooms", owner, { id: "r", members, sealedKeys: sealedFor(owner, next) });
  await it.ask("POST /v1/rooms/r/join", { as: next });
  await post("/v1/rooms/r/owner", admin, { endpoint });
  await it.ask("DELETE /v1/rooms/r", { as: owner });
  // Of these anyone may cause as many as they like.
  await post("/v1/register", someone(), { ...claim, token: "ab".repeat(32) });
  await post(`/v1/users/${someone().signPub}/revoke`);
  await post(`/v1/users/${user}/revoke`, owner);
  await post("/v1/users", admin, { signPub: "x" });
  const by = admin.signPub;
  const told = it.events.filter(({ event }) => event === "audit").map((it) => {
    const { level, event, proved, ...rest } = it;
    assert.deepEqual([level, event, proved], ["info", "audit", true]);
    return JSON.parse(JSON.stringify(rest));
  });
  assert.deepEqual(told, [
    { action: "createInvite", by, role: "user", invite: invite.id, outcome: "done" },
    { action: "register", by: user, user, role: "user", invite: invite.id, outcome: "done" },
    {
      action: "register",
      by: late.signPub,
      user: late.signPub,
      invite: invite.id,
      outcome: "invite_used",
    },
    { action: "addUser", by, user: late.signPub, role: "user", outcome: "done" },
    { action: "setUserRole", by, user, role: "admin", outcome: "done" },
    { action: "setUserRole", by, user, role: "user", outcome: "done" },
    { action: "revokeUser", by, user, outcome: "done" },
    { action: "restoreUser", by, user, outcome: "done" },
    { action: "revokeUser", by, user: by, outcome: "last_admin" },
    { action: "deleteUser", by, user, outcome: "done" },
    { action: "createInvite", by, role: "admin", invite: second, outcome: "done" },
    { action: "cancelInvite", by, role: "admin", invite: second, outcome: "done" },
    { action: "changeRoomOwner", by, user: endpoint, room: "r", outcome: "refused" },
    { action: "deleteRoom", by: owner.signPub, room: "r", outcome: "done" },
  ]);
  assert.ok(!JSON.stringify(it.events).includes(token));
});
