import assert from "node:assert/strict";
import fc from "fast-check";
import { ReplayGuard } from "../../src/signature/mod.ts";

const START = Date.parse("2026-11-20T08:00:00.700Z");
const WINDOW = 60_000;
const ADA = "a".repeat(64);
const BOB = "b".repeat(64);

function guard(maxEntries = 1000): { clock: { ms: number }; it: ReplayGuard } {
  const clock = { ms: START };
  const it = new ReplayGuard({
    windowMs: WINDOW,
    maxEntries,
    startedAt: new Date(START),
    now: () => new Date(clock.ms),
  });
  return { clock, it };
}

Deno.test("a request is fresh once, and repeated as long as its signature could be accepted", () => {
  const { clock, it } = guard();
  // Created as far ahead of the server's clock as is accepted, so it is acceptable longest.
  const created = START + WINDOW;
  assert.equal(it.check(ADA, "nonce", created), "fresh");
  for (; clock.ms <= created + WINDOW; clock.ms += 500) {
    assert.equal(it.check(ADA, "nonce", created), "repeated");
  }
  assert.equal(it.check(ADA, "nonce", created), "too_old");
});

Deno.test("signers do not share nonces", () => {
  const { it } = guard();
  assert.equal(it.check(ADA, "nonce", START), "fresh");
  assert.equal(it.check(BOB, "nonce", START), "fresh");
  assert.equal(it.check(ADA, "nonce2", START), "fresh");
  assert.equal(it.check(ADA, "nonce", START), "repeated");
});

Deno.test("what was created before the start is too old, by the second", () => {
  const { it } = guard();
  const second = Math.floor(START / 1000) * 1000;
  assert.equal(it.check(ADA, "n1", second), "fresh");
  assert.equal(it.check(ADA, "n2", second - 1000), "too_old");
});

Deno.test("a full memory accepts nothing it could not remember, and empties with time", () => {
  const { clock, it } = guard(100);
  for (let i = 0; i < 100; i++) assert.equal(it.check(ADA, `${i}`, START), "fresh");
  assert.equal(it.check(ADA, "one more", START), "full");
  assert.equal(it.check(ADA, "7", START), "repeated");
  assert.equal(it.size, 100);
  clock.ms += WINDOW + WINDOW / 8 + 1;
  assert.equal(it.check(ADA, "one more", clock.ms), "fresh");
  assert.equal(it.size, 1);
});

Deno.test("a clock set back brings nothing back", () => {
  const { clock, it } = guard();
  assert.equal(it.check(ADA, "nonce", START), "fresh");
  clock.ms = START + 3 * WINDOW;
  assert.equal(it.check(ADA, "other", clock.ms), "fresh");
  clock.ms = START;
  assert.equal(it.check(ADA, "nonce", START), "too_old");
});

Deno.test("whatever the order and the times, no request is fresh twice, nor forgotten too early", () => {
  const step = fc.record({
    advance: fc.nat(20_000),
    offset: fc.integer({ min: -70_000, max: 70_000 }),
    nonce: fc.nat(5),
    again: fc.nat(40),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const { clock, it } = guard(40);
      const asked: [string, number][] = [];
      const fresh = new Set<string>();
      for (const { advance, offset, nonce, again } of steps) {
        clock.ms += advance;
        const created = Math.floor((clock.ms + offset) / 1000) * 1000;
        const [name, at] = asked[asked.length - 1 - again] ?? [`${nonce}`, created];
        // The server asks only for what verifyRequest() lets through.
        if (Math.abs(clock.ms - at) > WINDOW) continue;
        asked.push([name, at]);
        const found = it.check(ADA, name, at);
        const id = `${name} ${at}`;
        const early = at < Math.floor(START / 1000) * 1000;
        if (found === "fresh") assert.ok(!fresh.has(id) && !early);
        // A nonce is used once, also with another time near by.
        else if (found === "repeated") {
          assert.ok([...fresh].some((it) => it.startsWith(`${name} `)));
        } else if (found === "too_old") assert.ok(early);
        else assert.equal(it.size, 40);
        if (found === "fresh") fresh.add(id);
        assert.ok(it.size <= 40);
      }
    }),
    { numRuns: 300 },
  );
});
