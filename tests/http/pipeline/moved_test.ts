import assert from "node:assert/strict";
import { openSqlite } from "../../../mod.ts";
import { StoreError } from "../../../src/core/errors.ts";
import { createControlPlane } from "../../../src/http/mod.ts";

Deno.test("a node whose control plane has moved says that it is not ready, so that clients go to another", async () => {
  await using store = openSqlite(":memory:");
  const moved = new StoreError("refused", "Bucket UNIBUS: its control plane moved to /a.db", {
    field: "moved",
  });
  const gone = new Proxy(store, {
    get(target, key: keyof typeof store) {
      if (key === "listRooms" || key === "listUsers") return () => Promise.reject(moved);
      const value = target[key] as unknown;
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  const plane = createControlPlane(gone, { busAuth: "off" });
  const answer = await plane.fetch(new Request("http://127.0.0.1/v1/users"));
  const { code, reason, detail } = await answer.json();
  assert.deepEqual([answer.status, code, reason], [503, "unavailable", "not_ready"]);
  assert.equal(answer.headers.get("retry-after"), "1");
  assert.ok(!detail.includes("a.db"));
  plane.close();
});
