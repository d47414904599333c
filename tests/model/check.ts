/**
 * Checks a backend against the model: the same random sequences on both must come to the same.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { invariantProblems } from "../conformance/kit/invariants.ts";
import type { Environment } from "../conformance/suite.ts";
import type { Store } from "../../src/core/store.ts";
import { collect } from "../conformance/kit/kit.ts";
import type { Command } from "./commands.ts";
import { Model } from "./model.ts";
import { onModel, onStore, type Outcome } from "./play.ts";
import { sequences, type Step } from "./steps.ts";

/** What {@link checkAgainstModel} takes. */
export interface ModelCheck {
  /** Makes an empty environment; called for each sequence. */
  factory: () => Promise<Environment>;
  /** Number of sequences. */
  runs: number;
  /** Begins with this seed, as a failure has printed it. */
  seed?: number;
}

/** Operations a handle may answer from memory, which another handle's writes reach a moment later. */
const FROM_MEMORY = new Set<Command["op"]>([
  "isAuthorized",
  "hasAdmin",
  "getMember",
  "listRoomsForEndpoint",
]);

/** Rejects with the shortest sequence found on which the backend and the model differ. */
export async function checkAgainstModel({ factory, runs, seed }: ModelCheck): Promise<void> {
  await fc.assert(
    fc.asyncProperty(sequences(), async (steps) => {
      const environment = await factory();
      try {
        await play(environment, steps);
      } finally {
        await environment.dispose();
      }
    }),
    { numRuns: runs, ...(seed === undefined ? {} : { seed }) },
  );
}

async function play(environment: Environment, steps: Step[]): Promise<void> {
  const model = new Model(Date.parse("2026-03-04T05:06:07.089Z"));
  const tokens: string[] = [];
  const stores: Store[] = [];
  const log: string[] = [];
  const open = (): Promise<Store> => environment.open({ clock: () => new Date(model.now) });
  let lastWriter = 0;
  try {
    stores.push(await open(), await open());
    for (const step of steps) {
      if (step.do === "tick") {
        model.now += step.milliseconds;
        log.push(`tick ${step.milliseconds}`);
      } else if (step.do === "reopen") {
        await stores[step.handle]!.close();
        stores[step.handle] = await open();
        log.push(`reopen ${step.handle}`);
      } else if (step.do === "roundTrip") {
        const store = stores[step.handle]!;
        log.push(`round trip ${step.handle}`);
        await store.restore(await collect(store.records()), { replace: true });
        lastWriter = step.handle;
      } else {
        const command = step.make({ model, tokens });
        log.push(`${step.handle} ${JSON.stringify(command)}`);
        const store = stores[step.handle]!;
        let [found, { made, message }] = await onStore(store, command);
        const expected = onModel(model, command, made);
        if (made !== undefined) tokens.push(made.token);
        if (FROM_MEMORY.has(command.op) && step.handle !== lastWriter) {
          found = await soon(async () => (await onStore(store, command))[0], expected, found);
        }
        if (message !== undefined) log.push(`  said: ${message}`);
        assert.deepEqual(found, expected);
        if (!/^(get|list|is|has|records)/.test(command.op)) lastWriter = step.handle;
      }
    }
    log.push("at the end: records, invariants, and the same after reopening");
    const expected = onModel(model, { op: "records" });
    const last = stores[lastWriter]!;
    assert.deepEqual((await onStore(last, { op: "records" }))[0], expected);
    assert.deepEqual(await invariantProblems(last), []);
    for (const it of stores.splice(0)) await it.close();
    stores.push(await open());
    assert.deepEqual((await onStore(stores[0]!, { op: "records" }))[0], expected);
    assert.deepEqual(await invariantProblems(stores[0]!), []);
  } catch (error) {
    throw new Error(
      `After:\n${log.join("\n")}\n${error instanceof Error ? error.message : error}`,
      {
        cause: error,
      },
    );
  } finally {
    for (const it of stores) await it.close();
  }
}

/** Asks again for a while, until the answer is the one expected. */
async function soon(
  ask: () => Promise<Outcome>,
  expected: Outcome,
  first: Outcome,
): Promise<Outcome> {
  const end = performance.now() + 20_000;
  const text = JSON.stringify(expected);
  let found = first;
  while (JSON.stringify(found) !== text && performance.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, 2));
    found = await ask();
  }
  return found;
}
