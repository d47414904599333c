/** A callback's errors stay its own. */

import assert from "node:assert/strict";
import { callQuietly } from "../../../src/core/async/callback.ts";

Deno.test("a callback that throws, or whose promise fails, ends nothing", async () => {
  const called: string[] = [];
  callQuietly(() => {
    called.push("throws");
    throw new Error("no");
  });
  callQuietly(async () => {
    called.push("fails");
    await Promise.reject(new Error("no"));
  });
  // An unhandled rejection would end the test here.
  await new Promise((resolve) => setTimeout(resolve, 0));
  assert.deepEqual(called, ["throws", "fails"]);
});
