/**
 * Redeems an invite over HTTP, in a process of its own: `register.ts URL TOKEN`.
 *
 * @module
 */

import { createClient, createIdentity } from "../../../src/client/mod.ts";

const [url, token] = Deno.args as [string, string];
const client = createClient({ url, identity: createIdentity() });
await client.register(token, "grace");
console.log(JSON.stringify(await client.me()));
