/** The tests of sealing and of rooms, on Node; run by tests/package/node_test.ts. */

import { test } from "node:test";

// They are written for Deno's runner, of which they need no more than this.
Object.assign(globalThis, {
  Deno: {
    test: (name: string, work: () => unknown) => void test(name, async () => void await work()),
  },
});
for (
  const file of [
    "sealing_hpke",
    "sealing_key",
    "sealing_message",
    "sealing_fixtures",
    "client_locked_identity",
    "client_memory",
    "client_outbox",
    "client_rooms_hostile",
    "client_rooms_life",
  ]
) await import(`../${file}_test.ts`);
