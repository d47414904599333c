/**
 * Failover of three nodes: the longest gap in acknowledged writes, against that of the servers by
 * themselves in the same run.
 *
 * @module
 */

import process from "node:process";
import { testNodes } from "../../cluster/kit.ts";
import { doctor, type Gaps, gapsWhen, type Going, startAgain } from "./gaps.ts";
import { median } from "../measure.ts";
import { type Row, whole } from "../table.ts";

/** How often each is done; `UNIBUS_FAILOVER_ROUNDS` sets another number. */
const ROUNDS = Number(process.env.UNIBUS_FAILOVER_ROUNDS ?? 5);

/** Measures the gaps. */
export async function failover(): Promise<Row[]> {
  await using place = await testNodes(3);
  await Promise.all(place.nodes.map(startAgain));
  const rows: Row[] = [];
  for (const going of ["follower killed", "leader killed", "leader stopped in order"] as const) {
    const gaps: Gaps[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      gaps.push(await gapsWhen(place, going));
      console.error(`  ${going}: ${told(gaps.at(-1)!)}`);
    }
    rows.push(...gapRows(going, gaps));
  }
  await doctor(place);
  return rows;
}

/** A round in one line. */
export function told({ store, bare, authorized, elected }: Gaps): string {
  const announced = elected === null ? "" : `, a new leader after ${whole(elected)} ms`;
  return `no write for ${whole(store)} ms, of the servers ${whole(bare)} ms, no yes for ` +
    `${whole(authorized)} ms${announced}`;
}

/** The gaps of several rounds as rows. */
export function gapRows(going: Going, gaps: Gaps[]): Row[] {
  const of = (pick: (it: Gaps) => number) => gaps.map(pick).sort((a, b) => a - b);
  const both = (times: number[]) =>
    `${whole(median(times))} ms, longest ${whole(times.at(-1)!)} ms`;
  const store = of((it) => it.store);
  const bare = of((it) => it.bare);
  const elected = gaps.flatMap((it) => it.elected ?? []).sort((a, b) => a - b);
  const rows: Row[] = [
    {
      what: `${going}: gap in acknowledged writes`,
      found: both(store),
      baseline: `a bare message every 10 ms: ${both(bare)}`,
      ratio: median(store) / median(bare),
    },
    { what: `${going}: gap in yes of isAuthorized`, found: both(of((it) => it.authorized)) },
  ];
  if (elected.length > 0) {
    rows.push({ what: `${going}: until a leader is announced`, found: both(elected) });
  }
  if (going === "follower killed") {
    rows.push({
      what: "follower killed: the longest gap",
      found: `${whole(store.at(-1)!)} ms`,
      ratio: store.at(-1)!,
      goal: { most: 1000, unit: " ms" },
    });
  }
  return rows;
}
