/**
 * What comes in thousands is a few lines of the log.
 *
 * @module
 */

import assert from "node:assert/strict";
import { calloutEvents, httpEvents } from "../../../cli/serve/log/events.ts";
import { often } from "../../../cli/serve/log/events.ts";
import type { Fields, Log } from "../../../cli/terminal/log.ts";
import { until } from "../serve/kit.ts";

interface Line {
  level: string;
  event: string;
  fields: Fields;
}

function recorder(): { log: Log; lines: Line[] } {
  const lines: Line[] = [];
  return { lines, log: (level, event, fields = {}) => void lines.push({ level, event, fields }) };
}

const shown = (lines: Line[]) => lines.filter((it) => it.level !== "debug");

Deno.test("the first of an event is logged in full, then how many more came, then none", async () => {
  const { log, lines } = recorder();
  const tell = often(log, "info", "e", 50);
  for (let n = 1; n <= 4; n++) tell({ n });
  assert.deepEqual(shown(lines), [{ level: "info", event: "e", fields: { n: 1 } }]);
  assert.deepEqual(lines.slice(1).map((it) => it.fields.n), [2, 3, 4]);
  await until(() => shown(lines).length === 2, "sum");
  assert.deepEqual(shown(lines)[1]!.fields, { more: 3, seconds: 0.05 });
  // After a period without one the next is told in full again.
  await new Promise((resolve) => setTimeout(resolve, 200));
  tell({ n: 5 });
  assert.deepEqual(shown(lines)[2]!.fields, { n: 5 });
});

Deno.test("a login and a 503 are told once for many, a fault of ours each time", () => {
  const { log, lines } = recorder();
  const http = httpEvents(log);
  const failed = (code: string) => http({ level: "error", event: "failed", code, route: "/v1/me" });
  for (let i = 0; i < 100; i++) failed("unavailable");
  assert.equal(shown(lines).length, 1);
  for (let i = 0; i < 3; i++) failed("internal");
  assert.equal(shown(lines).length, 4);
  http({ level: "info", event: "audit", action: "addUser" });
  assert.equal(shown(lines).at(-1)!.event, "audit");
  const bus = calloutEvents(log);
  const client = { host: "h", name: "n" };
  for (let i = 0; i < 100; i++) {
    bus({ kind: "admitted", endpoint: "ab", rooms: 1, client } as never);
  }
  const logins = lines.filter((it) => it.event === "bus.admitted");
  assert.deepEqual([shown(logins).length, logins.length], [1, 100]);
});
