/**
 * Opens a store with the options of its first argument, waits until its cache is warm and its follower
 * exact, and says what memory the process has and how long that took.
 */

import process from "node:process";
import { openFollowed } from "../../../src/follower/open.ts";
import { openJetStream } from "../../../src/jetstream/mod.ts";
import { keyOf } from "../../tools/many.ts";

const options = JSON.parse(process.argv[2]!);
const { rss: before } = process.memoryUsage();
const begun = performance.now();
const opened = "follower" in options ? await openFollowed(options) : null;
await using store = opened?.store ?? await openJetStream(options);
// A question begins to load the cache, also after a failure.
while (
  !await store.isAuthorized(keyOf(7)) ||
  !(await store.health()).checks.find((it) => it.name === "cache")!.ok
) {
  await new Promise((resolve) => setTimeout(resolve, 50));
}
const warm = performance.now() - begun;
await opened?.follower.whenExact();
console.log(JSON.stringify({ before, warm, rss: process.memoryUsage().rss }));
