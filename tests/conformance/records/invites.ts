/**
 * Invites: single use, burned on claim, expiring; the token is shown once and stored nowhere.
 *
 * @module
 */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { LIMITS } from "../../../src/core/validate.ts";
import { claim, collect, fails, hexKey, invite, newUser, snapshot } from "../kit/kit.ts";
import type { It } from "../suite.ts";

const DAY = 24 * 3600 * 1000;

/** Registers the tests of invites. */
export function invites(it: It): void {
  it("consumeInvite() takes a pasted link, and no other text", async ({ store }) => {
    const { token } = await invite(store);
    const call = (text: string) => store.consumeInvite(text, claim());
    for (const text of ["https://bus.example/join#", `${token}#x`, `#${token}0`, "#"]) {
      await fails("invalid", call(text), "token");
    }
    const link = ` https://bus.example/join#${token.toUpperCase()}\n`;
    assert.equal((await call(link)).status, "active");
    await fails("invite_used", call(token));
  });

  it("createInvite() lives 7 days by default, and is found by its id", async ({ store, clock }) => {
    const { invite, token } = await store.createInvite({ createdBy: "cli" });
    assert.match(token, /^[0-9a-f]{64}$/);
    const { createdBy: _, ...rest } = invite;
    assert.deepEqual(rest, {
      id: createHash("sha256").update(token).digest("hex"),
      role: "user",
      note: "",
      createdAt: clock.iso(),
      expiresAt: new Date(clock.now + 7 * DAY).toISOString(),
      usedAt: null,
      usedBy: null,
      canceledAt: null,
    });
    assert.deepEqual(await store.getInvite(invite.id), invite);
    assert.deepEqual(await store.getInvite(invite.id.toUpperCase()), invite);
  });

  it("createInvite() keeps who made it: a key or a label", async ({ store }) => {
    for (const createdBy of [hexKey(), "cli", "Zoë’s laptop"]) {
      const { invite } = await store.createInvite({ createdBy });
      assert.equal((await store.getInvite(invite.id)).createdBy, createdBy);
    }
  }, "anyValue");

  it("createInvite() keeps role, note and life", async ({ store, clock }) => {
    const input = {
      createdBy: hexKey(),
      role: "admin" as const,
      note: "für Zoë 🚀 ".repeat(50).slice(0, 500),
      expiresIn: LIMITS.inviteMaxMs,
    };
    const { invite } = await store.createInvite(input);
    const found = await store.getInvite(invite.id);
    assert.deepEqual([found.role, found.note], ["admin", input.note]);
    assert.equal(found.expiresAt, new Date(clock.now + LIMITS.inviteMaxMs).toISOString());
    const other = await store.createInvite(input);
    assert.notEqual(other.token, hexKey());
    assert.notEqual(other.invite.id, invite.id);
  });

  it("no record holds the token", async ({ store }) => {
    const { token } = await invite(store);
    await store.consumeInvite(token, claim());
    const { token: live } = await invite(store);
    const text = JSON.stringify(await collect(store.records()));
    assert.ok(!text.includes(token) && !text.includes(live));
  });

  it("consumeInvite() makes a user with the invite's role and spends it", async (scene) => {
    const { store, clock } = scene;
    for (const role of ["user", "admin"] as const) {
      const { token, invite: made } = await invite(store, role);
      const who = claim({ handle: `new ${role}` });
      clock.now += 1000;
      const expected = {
        ...who,
        role,
        status: "active",
        createdAt: clock.iso(),
        revokedAt: null,
      };
      assert.deepEqual(await store.consumeInvite(token.toUpperCase(), who), expected);
      assert.deepEqual(await store.getUser(who.signPub), expected);
      assert.equal(await store.isAuthorized(who.signPub), true);
      assert.equal(await store.hasAdmin(), role === "admin");
      const spent = await store.getInvite(made.id);
      assert.deepEqual(spent, { ...made, usedAt: clock.iso(), usedBy: who.signPub });
      await fails("invite_used", store.consumeInvite(token, claim()));
      await fails("invite_used", store.consumeInvite(token, who));
      assert.deepEqual(await store.getInvite(made.id), spent);
    }
    assert.equal((await store.listUsers()).items.length, 2);
  });

  it("consumeInvite() ignores a role the claimer writes in", async ({ store }) => {
    const { token } = await invite(store, "user");
    const user = await store.consumeInvite(token, newUser({ role: "admin" }));
    assert.equal(user.role, "user");
    assert.equal(await store.hasAdmin(), false);
  });

  it("consumeInvite() by a registered key is user_exists and burns it", async ({ store, clock }) => {
    const known = newUser({ handle: "as before" });
    const before = await store.addUser(known);
    const { token, invite: made } = await invite(store, "admin");
    clock.now += 1;
    await fails("user_exists", store.consumeInvite(token, claim({ signPub: known.signPub })));
    assert.deepEqual(await store.getUser(known.signPub), before);
    const spent = await store.getInvite(made.id);
    assert.deepEqual([spent.usedAt, spent.usedBy], [clock.iso(), known.signPub]);
    await fails("invite_used", store.consumeInvite(token, claim()));
    assert.equal((await store.listUsers()).items.length, 1);
  });

  it("consumeInvite() does not bring a revoked user back", async ({ store }) => {
    const user = newUser();
    await store.addUser(user);
    await store.revokeUser(user.signPub);
    const { token } = await invite(store, "admin");
    await fails("user_exists", store.consumeInvite(token, claim({ signPub: user.signPub })));
    assert.equal(await store.isAuthorized(user.signPub), false);
  });

  it("an unknown token is not_found, and no message repeats it", async ({ store }) => {
    const { invite: made } = await invite(store);
    const token = hexKey();
    const miss = await fails("not_found", store.consumeInvite(token, claim()));
    assert.ok(!miss.message.includes(token));
    await fails("not_found", store.consumeInvite(made.id, claim()));
    const slip = token.slice(1);
    const bad = await fails("invalid", store.consumeInvite(slip, claim()), "token");
    assert.ok(!bad.message.includes(slip.slice(0, 8)));
    await fails("not_found", store.getInvite(hexKey()));
    await fails("not_found", store.cancelInvite(hexKey()));
    assert.equal((await store.listUsers()).items.length, 0);
  });

  it("an invite ends at its expiry, to the millisecond", async ({ store, clock }) => {
    const first = await store.createInvite({ createdBy: "cli", expiresIn: 5000 });
    const second = await store.createInvite({ createdBy: "cli", expiresIn: 5000 });
    clock.now += 4999;
    await store.consumeInvite(first.token, claim());
    clock.now += 1;
    const before = await snapshot(store);
    await fails("invite_expired", store.consumeInvite(second.token, claim()));
    assert.deepEqual(await snapshot(store), before);
    clock.now += 400 * DAY;
    await fails("invite_used", store.consumeInvite(first.token, claim()));
    await fails("invite_expired", store.consumeInvite(second.token, claim()));
  });

  it("an expiry that cannot be read counts as expired", async ({ store, clock }) => {
    const token = hexKey();
    const id = createHash("sha256").update(token).digest("hex");
    for (const expiresAt of ["garbage", "", "9999", "2026-13-45T00:00:00.000Z", "never"]) {
      const record = {
        id,
        createdBy: "cli",
        role: "admin" as const,
        note: "",
        createdAt: clock.iso(),
        expiresAt,
        usedAt: null,
        usedBy: null,
        canceledAt: null,
      };
      await store.restore([{ kind: "invites", record }], { replace: true });
      assert.deepEqual(await store.getInvite(id), record);
      if (Number.isNaN(Date.parse(expiresAt))) {
        await fails("invite_expired", store.consumeInvite(token, claim()));
        assert.deepEqual(await store.getInvite(id), record);
      }
    }
    assert.equal((await store.listUsers()).items.length, 0);
  });

  it("cancelInvite() ends an invite; again changes nothing", async ({ store, clock }) => {
    const { token, invite: made } = await invite(store);
    clock.now += 10;
    const canceled = { ...made, canceledAt: clock.iso() };
    assert.deepEqual(await store.cancelInvite(made.id.toUpperCase()), canceled);
    clock.now += 10;
    assert.deepEqual(await store.cancelInvite(made.id), canceled);
    assert.deepEqual(await store.getInvite(made.id), canceled);
    await fails("invite_canceled", store.consumeInvite(token, claim()));
    clock.now += 8 * DAY;
    await fails("invite_canceled", store.consumeInvite(token, claim()));
    assert.equal((await store.listUsers()).items.length, 0);
  });

  it("cancelInvite() of a used invite is invite_used, of an expired one works", async (scene) => {
    const { store, clock } = scene;
    const used = await invite(store);
    await store.consumeInvite(used.token, claim());
    const before = await store.getInvite(used.invite.id);
    await fails("invite_used", store.cancelInvite(used.invite.id));
    assert.deepEqual(await store.getInvite(used.invite.id), before);
    const expired = await invite(store);
    clock.now += 8 * DAY;
    assert.equal((await store.cancelInvite(expired.invite.id)).canceledAt, clock.iso());
  });

  it("pruneInvites() removes what was over at a time, and nothing that can be claimed", async (scene) => {
    const { store, clock } = scene;
    const used = await invite(store);
    const user = await store.consumeInvite(used.token, claim());
    const canceled = await invite(store);
    await store.cancelInvite(canceled.invite.id);
    const expired = await store.createInvite({ createdBy: "cli", expiresIn: DAY });
    const before = new Date(clock.now - 1).toISOString();
    assert.equal(await store.pruneInvites(before), 0);
    clock.now += DAY - 1;
    const open = await invite(store);
    const usedLate = await invite(store);
    await store.consumeInvite(usedLate.token, claim());
    assert.equal(await store.pruneInvites(new Date(clock.now - 1).toISOString()), 2);
    await fails("not_found", store.consumeInvite(used.token, claim()));
    await fails("not_found", store.getInvite(canceled.invite.id));
    assert.equal((await store.getInvite(expired.invite.id)).id, expired.invite.id);
    // A time to come counts as now.
    assert.equal(await store.pruneInvites("9999-12-31T23:59:59.999Z"), 1);
    clock.now += 1;
    assert.equal(await store.pruneInvites(clock.iso()), 1);
    assert.deepEqual((await store.listInvites()).items.map((it) => it.id), [open.invite.id]);
    await store.consumeInvite(open.token, claim());
    assert.equal((await store.getUser(user.signPub)).status, "active");
    assert.equal(await store.pruneInvites(before), 0);
  });
}
