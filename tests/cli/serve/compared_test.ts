/** When the second copies of the nodes count as equal. */

import assert from "node:assert/strict";
import { Compared } from "../../../cli/cluster/rolling.ts";
import type { NodeState } from "../../../cli/cluster/restarts.ts";

function statesOf(digests: Record<string, Record<string, string> | null>): Map<string, NodeState> {
  return new Map(
    Object.entries(digests).map(([name, it]) => [name, {
      run: name,
      ready: true,
      failing: [],
      follows: it !== null,
      digests: it ?? {},
    }]),
  );
}

Deno.test("copies count as equal once each was seen at a position of another with its digest", () => {
  const compared = new Compared();
  const first = statesOf({ n1: { 5: "a" }, n2: { 6: "b" }, n3: { 7: "c" } });
  compared.add(first);
  assert.deepEqual(compared.open(first), [
    "the second copies were not seen at one position yet: n1, n2, n3",
  ]);
  // Of several looks.
  const second = statesOf({ n1: { 6: "b" }, n2: { 8: "d" }, n3: {} });
  compared.add(second);
  assert.deepEqual(compared.open(second), [
    "the second copies were not seen at one position yet: n3",
  ]);
  const third = statesOf({ n1: {}, n2: {}, n3: { 8: "d" } });
  compared.add(third);
  assert.deepEqual(compared.open(third), []);
});

Deno.test("copies that differ at one position are a mismatch, and a single one has nothing to equal", () => {
  const compared = new Compared();
  const alone = statesOf({ n1: { 5: "a" }, n2: null });
  compared.add(alone);
  assert.deepEqual(compared.open(alone), []);
  assert.throws(() => compared.add(statesOf({ n2: { 5: "x" } })), {
    code: "mismatch",
    message: /differ at position 5: n1 a, n2 x/,
  });
});
