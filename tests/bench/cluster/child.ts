/**
 * A process that opens the store of a cluster and asks: arguments are the servers with commas, the file
 * of the service keys, and a user. Says in JSON lines when the store was open, when it first said yes,
 * and when its cache was warm, with its memory before and after.
 *
 * @module
 */

import process from "node:process";
import { openJetStream } from "../../../src/jetstream/mod.ts";
import { loadServiceKeys } from "../../../src/nats/mod.ts";

const [servers, keysPath, user] = process.argv.slice(2) as [string, string, string];
const keys = await loadServiceKeys(keysPath);
const say = (what: string) =>
  console.log(JSON.stringify({ what, at: Date.now(), rss: process.memoryUsage().rss }));

say("started");
await using store = await openJetStream({
  servers: servers.split(","),
  nkeySeed: keys.service.seed,
  create: false,
});
say("open");
while (!(await store.isAuthorized(user))) await new Promise((resolve) => setTimeout(resolve, 5));
say("yes");
while (!(await store.health()).checks.find((it) => it.name === "cache")!.ok) {
  await new Promise((resolve) => setTimeout(resolve, 20));
}
say("warm");
