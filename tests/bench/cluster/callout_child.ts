/**
 * A process that answers the auth callout, as `membershipd` does: `callout_child.ts URL KEYS DB TLS_JSON`.
 * Prints a line when it does.
 */

import { openSqlite } from "../../../src/sqlite/mod.ts";
import { loadServiceKeys, startAuthCallout } from "../../../src/nats/mod.ts";
import { connectNats } from "../../../src/nats/connection/connect.ts";

const [servers, keysPath, db, tlsJson] = Deno.args as [string, string, string, string];
const tls = JSON.parse(tlsJson);
const keys = await loadServiceKeys(keysPath);
await using store = openSqlite(db);
await using callout = await startAuthCallout({
  store,
  connection: await connectNats({ servers, nkeySeed: keys.service.seed, ...tls }),
  system: await connectNats({ servers, nkeySeed: keys.system.seed, ...tls }),
  issuerSeed: keys.issuer.seed,
  mode: "enforce",
});
console.log(JSON.stringify(callout.status()));
// Until it is killed.
await new Promise(() => {});
