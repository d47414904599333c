/** A process that moves a file into a bucket, to be killed: `move_child.ts DB NATS_JSON`. */

import { migrateSqliteToKv } from "../../mod.ts";

const [db, nats] = Deno.args;
await migrateSqliteToKv({ db: db!, nats: JSON.parse(nats!), backup: false });
