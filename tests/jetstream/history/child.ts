/**
 * A process that makes changes until it is killed: `child.ts SERVERS BUCKET NAME`. It adds users and
 * revokes every other one, prints `user.added KEY` or `user.revoked KEY` when a change was acknowledged,
 * and goes on when one was not.
 *
 * @module
 */

import { openJetStream } from "../../../mod.ts";
import { person } from "../../helpers/sqlite.ts";

const [servers, bucket, name] = Deno.args as [string, string, string];
const store = await openJetStream({ servers: servers.split(","), bucket, create: false });
console.log("ready");
async function lane(lane: number): Promise<void> {
  for (let i = 0;; i++) {
    const it = person(`${name} ${lane} ${i}`);
    try {
      await store.addUser(it);
      console.log(`user.added ${it.signPub}`);
      if (i % 2 === 1) continue;
      await store.revokeUser(it.signPub);
      console.log(`user.revoked ${it.signPub}`);
    } catch {
      // Made or not: what the stream says counts.
    }
  }
}
await Promise.all([0, 1, 2, 3].map(lane));
