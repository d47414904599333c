/** Decisions that every backend, the server, the pages and the command line make alike. */

import assert from "node:assert/strict";
import { inviteProblem, inviteState } from "../../src/core/rules.ts";

Deno.test("an invite is in one state, and one whose expiry cannot be read is expired", () => {
  const it = {
    id: "0",
    createdBy: "cli",
    role: "user" as const,
    note: "",
    createdAt: "2026-11-21T00:00:00.000Z",
    expiresAt: "2026-11-22T00:00:00.000Z",
    usedAt: null,
    usedBy: null,
    canceledAt: null,
  };
  const now = Date.parse("2026-11-21T12:00:00.000Z");
  for (
    const [state, change, at] of [
      ["open", {}, now],
      ["expired", {}, Date.parse(it.expiresAt)],
      ["expired", { expiresAt: "never" }, now],
      ["canceled", { canceledAt: it.createdAt, expiresAt: "never" }, now],
      ["used", { usedAt: it.createdAt, canceledAt: it.createdAt }, now],
    ] as const
  ) {
    const invite = { ...it, ...change };
    assert.equal(inviteState(invite, at), state);
    const problem = inviteProblem(invite, new Date(at).toISOString());
    assert.equal(problem?.code, state === "open" ? undefined : `invite_${state}`);
  }
});
