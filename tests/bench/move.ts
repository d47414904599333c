/**
 * The move: against one awaited put after another, against bare atomic batches, its memory, and the
 * second run.
 *
 * @module
 */

import { jetstreamManager } from "@nats-io/jetstream";
import type { Counts } from "../../src/core/model.ts";
import { bareBucket, bareConnection, batchBucket, putAll, putBatches } from "./bare.ts";
import { timed } from "./measure.ts";
import { type Row, whole } from "./table.ts";
import type { World } from "./world.ts";

const PUTS = 3000;
/** Entries of the bare batches: so many that they say a rate, so few that they fit in memory. */
const BARE = 300_000;

const sum = (counts: Counts) => Object.values(counts).reduce((a, b) => a + b);
const perSecond = (count: number, ms: number) => count / (ms / 1000);
const megabytes = (bytes: number) => bytes / 2 ** 20;

/** Measures the move. */
export async function move(world: World): Promise<Row[]> {
  const { records } = world;
  const few = Math.round(records / 10);
  const nc = await bareConnection(world.server.url);
  try {
    const sample = world.sample(records, PUTS);
    const kv = await bareBucket(nc, "bare_puts");
    await putAll(kv, sample.slice(0, 200));
    const put = () => timed(() => putAll(kv, sample));

    const pairs = world.pairs(records, BARE);
    await batchBucket(nc, "bare_batches");
    const batches = async () => {
      const jsm = await jetstreamManager(nc);
      await jsm.streams.purge("KV_bare_batches");
      return await timed(() => putBatches(nc, "bare_batches", pairs));
    };
    // Before and after the move, since the machine may be busier at one end.
    const early = [await put(), await batches()] as const;
    const small = await world.moved(few);
    const large = await world.moved(records);
    const late = [await put(), await batches()] as const;
    const puts = perSecond(sample.length * 2, early[0] + late[0]);
    const bare = perSecond(pairs.length * 2, early[1] + late[1]);
    const again = await world.move(records);
    if (again.report.written + again.report.removed > 0) {
      throw new Error("The second run found something to change");
    }

    const { report } = large;
    const total = sum(report.counts);
    const moved = perSecond(total, report.seconds.total * 1000);
    const entries = perSecond(report.written, report.seconds.total * 1000);
    const copied = perSecond(report.written, report.seconds.copy * 1000);
    const phases = `copy ${report.seconds.copy.toFixed(1)} s, verify ${
      report.seconds.verify.toFixed(1)
    } s`;
    return [
      {
        what: `move ${whole(total)} records (${phases})`,
        found: `${whole(moved)} records/s, ${whole(entries)} entries/s`,
        baseline: `kv.put of the same entries ${whole(puts)}/s`,
        ratio: entries / puts,
        goal: { least: 20 },
      },
      {
        what: "  the same, were a record one put",
        found: `${whole(moved)} records/s`,
        baseline: `kv.put ${whole(puts)}/s`,
        ratio: moved / puts,
      },
      {
        what: "  its copy phase",
        found: `${whole(copied)} entries/s`,
        baseline: `bare atomic batches ${whole(bare)} entries/s`,
        ratio: copied / bare,
        goal: { least: 0.8 },
      },
      {
        what: `  peak memory at ${whole(total)} records`,
        found: `${whole(megabytes(large.peak))} MB`,
        ratio: megabytes(large.peak),
        goal: { most: 250, unit: " MB" },
      },
      {
        what: "  the same against a tenth of the records",
        found: `${whole(megabytes(large.peak))} MB`,
        baseline: `${whole(sum(small.report.counts))} records ${whole(megabytes(small.peak))} MB`,
        ratio: large.peak / small.peak,
        // Below that the runtime itself is most of it and has not yet come to rest.
        ...(few >= 100_000 ? { goal: { most: 1.2 } } : {}),
      },
      {
        what: "  second run, nothing to change",
        found: `${again.report.seconds.total.toFixed(2)} s`,
        baseline: `first run ${report.seconds.total.toFixed(2)} s`,
        ratio: report.seconds.total / again.report.seconds.total,
        goal: { least: 2 },
      },
    ];
  } finally {
    await nc.close();
  }
}
