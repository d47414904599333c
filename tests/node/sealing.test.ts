/** The tests of sealing and of rooms, on Node; run by tests/package/node_test.ts. */

import { test } from "node:test";

// They are written for Deno's runner, of which they need no more than this.
Object.assign(globalThis, {
  Deno: {
    test: (name: string, ...rest: unknown[]) => {
      const work = rest.at(-1) as () => unknown;
      void test(name, async () => void await work());
    },
  },
});
for (
  const file of [
    "sealing/hpke",
    "sealing/key",
    "sealing/message",
    "sealing/fixtures",
    "sealing/threads",
    "keys/locked_identity",
    "client/node/memory",
    "client/rooms/outbox",
    "client/rooms/hostile_bus_and_server",
    "client/rooms/life",
  ]
) await import(`../${file}_test.ts`);
