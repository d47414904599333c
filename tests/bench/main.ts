/**
 * `deno task bench`: measures against baselines of the same run and says which goals are met. Ratios
 * carry over from machine to machine, absolute figures do not.
 *
 * @module
 */

import { cpus } from "node:os";
import process from "node:process";
import { parseArgs } from "node:util";
import { natsServerVersion } from "../../src/nats/server/binary.ts";
import { natsBinary } from "../helpers/nats.ts";
import { authorize } from "./authorize.ts";
import { blobs } from "./http/blobs.ts";
import { callout } from "./cluster/callout.ts";
import { clusterScale } from "./cluster/scale.ts";
import { createRoom } from "./create_room.ts";
import { follower } from "./cluster/follower.ts";
import { failover } from "./cluster/failover.ts";
import { grow } from "./grow/grow.ts";
import { history } from "./size/history.ts";
import { http } from "./http/http.ts";
import { largeRoom } from "./large_room.ts";
import { lists } from "./size/lists.ts";
import { move } from "./move.ts";
import { overload } from "./http/overload.ts";
import { scale } from "./size/scale.ts";
import { search } from "./size/search.ts";
import { sealing } from "./sealing.ts";
import { snapshot } from "./snapshot.ts";
import { start } from "./http/start.ts";
import { isMet, type Row, table, whole } from "./table.ts";
import { World } from "./world.ts";

// `move` first: `authorize`, `lists` and `snapshot` use and change the bucket it fills.
const BENCHES = {
  ...{
    move,
    authorize,
    snapshot,
    createRoom,
    lists,
    http,
    overload,
    callout,
    blobs,
    sealing,
    start,
    follower,
    search,
  },
  ...{ history, failover, cluster: clusterScale, scale, largeRoom },
  grow: ({ asked }: World) => grow(asked ?? GROW_RECORDS),
};
type Name = keyof typeof BENCHES;
const NAMES = Object.keys(BENCHES) as Name[];
/** Records of `grow`, which has a load meanwhile. */
const GROW_RECORDS = 20_000;
/** Only when named: these take minutes. */
const LONG: readonly Name[] = ["failover", "cluster", "scale", "grow", "history", "largeRoom"];
const USUAL = NAMES.filter((it) => !LONG.includes(it));

const USAGE = `Usage: deno task bench [--records N] [--only NAME,…] [--json]

Measures the move and the stores, N records large (default 1000000, at least 10000), and the server.
Names: ${USUAL.join(", ")}; and only when named: ${LONG.join(", ")}
grow has ${GROW_RECORDS} records by default; from 200000 on it has more blobs, calls and clients too

  deno task bench --records 100000
  deno task bench --only move`;

async function main(args: string[]): Promise<number> {
  let records: number;
  let asked: number | null;
  let only: Name[];
  let json: boolean;
  try {
    const { values } = parseArgs({
      args,
      options: {
        records: { type: "string" },
        only: { type: "string", default: USUAL.join(",") },
        json: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    });
    if (values.help) {
      console.log(USAGE);
      return 0;
    }
    asked = values.records === undefined ? null : Number(values.records);
    records = asked ?? (values.only === "grow" ? GROW_RECORDS : 1_000_000);
    only = values.only.split(",") as Name[];
    json = values.json;
    if (!Number.isInteger(records) || records < 10_000) {
      throw new Error(`--records must be a whole number from 10000 on, found ${values.records}`);
    }
    const stranger = only.find((it) => !NAMES.includes(it));
    if (stranger !== undefined) throw new Error(`No benchmark ${stranger}`);
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n\n${USAGE}`);
    return 2;
  }

  const { path } = await natsBinary();
  const version = await natsServerVersion(path);
  console.error(
    `${
      whole(records)
    } records, nats-server ${version} with sync_interval: always, ${cpus().length} cores`,
  );
  const rows: Row[] = [];
  try {
    await using world = await World.open(records, asked);
    for (const name of NAMES.filter((it) => only.includes(it))) {
      console.error(`${name} …`);
      rows.push(...await BENCHES[name](world));
    }
  } finally {
    // Also when one of them failed: the others took their time.
    if (json) console.log(JSON.stringify(rows.map((it) => ({ ...it, met: isMet(it) }))));
    else console.log(table(rows));
  }
  const missed = rows.filter((it) => isMet(it) === false);
  if (missed.length > 0) console.error(`${missed.length} goals missed`);
  return 0;
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
