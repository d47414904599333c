/** The lines that strangers can cause. */

import assert from "node:assert/strict";
import { calloutEvents, httpEvents } from "../../../../cli/serve/log/events.ts";
import type { Fields } from "../../../../cli/terminal/log.ts";
import { sparing } from "../../../../cli/serve/log/events.ts";
import type { CalloutEvent } from "../../../../src/nats/types.ts";
import { eventually } from "../../../nats/callout/bus.ts";

type Line = [level: string, event: string, fields: Fields];

function recorder() {
  const lines: Line[] = [];
  const log = (level: string, event: string, fields: Fields = {}) =>
    void lines.push([level, event, fields]);
  return { lines, log };
}

Deno.test("a source has five lines for a reason, and one that counts the rest", async () => {
  const { lines, log } = recorder();
  const warn = sparing(log, 50);
  const ada = { host: "10.0.0.1", reason: "no_key" };
  for (let i = 0; i < 24_500; i++) warn("bus.refused", ada, { i });
  assert.deepEqual(lines, [0, 1, 2, 3, 4].map((i) => ["warn", "bus.refused", { i }]));
  // Other reasons, sources and events have their own.
  warn("bus.refused", { ...ada, reason: "replay" }, { i: "reason" });
  warn("bus.refused", { ...ada, host: "10.0.0.2" }, { i: "host" });
  warn("bus.would_refuse", ada, { i: "event" });
  assert.deepEqual(lines.slice(5).map(([, , { i }]) => i), ["reason", "host", "event"]);
  await eventually(() => lines.length === 9);
  assert.deepEqual(lines[8], ["warn", "bus.refused", { ...ada, left_out: 24_495 }]);
  // The next time it has five again, and nothing is told of what was not left out.
  warn("bus.refused", ada, { i: "later" });
  assert.deepEqual(lines[9]![2], { i: "later" });
});

Deno.test("many sources at a time share a count, so that their number bounds nothing", async () => {
  const { lines, log } = recorder();
  const warn = sparing(log, 50);
  for (let i = 0; i < 1000; i++) warn("bus.refused", { host: `h${i}`, reason: "no_key" }, { i });
  assert.equal(lines.length, 105);
  await eventually(() => lines.length === 106);
  assert.deepEqual(lines[105]![2], { reason: "no_key", left_out: 895 });
});

Deno.test("refused logins and requests are bounded so, and nothing else is", () => {
  const { lines, log } = recorder();
  const client = { endpoint: null, host: "h", name: "n", cid: 1, server: "s" };
  const bus = calloutEvents(log);
  const http = httpEvents(log);
  const events: CalloutEvent[] = [
    { kind: "refused", reason: "no_key", detail: "", client },
    { kind: "would_refuse", reason: "no_key", detail: "", client },
    { kind: "admitted", endpoint: "e", rooms: 0, client },
  ];
  const count = (event: string) => lines.filter(([, it]) => it === event).length;
  for (let i = 0; i < 20; i++) {
    for (const it of events) bus(it);
    http({ level: "warn", event: "refused", address: "h", code: "forbidden" });
    http({ level: "warn", event: "would_refuse", address: "h", code: "forbidden" });
    http({ level: "info", event: "request" });
  }
  assert.deepEqual(["refused", "would_refuse", "admitted"].map((it) => count(`bus.${it}`)), [
    5,
    5,
    20,
  ]);
  assert.deepEqual(["refused", "would_refuse", "request"].map((it) => count(`http.${it}`)), [
    5,
    5,
    20,
  ]);
});
