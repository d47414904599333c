/**
 * Random sequences of operations against the model, on both backends. `UNIBUS_MODEL_RUNS` sets how
 * many sequences each backend plays, `UNIBUS_MODEL_SEED` repeats a failure.
 *
 * @module
 */

import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { openJetStream } from "../../src/jetstream/mod.ts";
import { openSqlite } from "../../src/sqlite/mod.ts";
import { testServer } from "../helpers/nats.ts";
import { checkAgainstModel } from "./check.ts";

const runs = (short: number) => Number(Deno.env.get("UNIBUS_MODEL_RUNS") ?? short);
const given = Deno.env.get("UNIBUS_MODEL_SEED");
const seed = given === undefined ? {} : { seed: Number(given) };

Deno.test("sqlite does what the model does, whatever the sequence", async () => {
  const folder = await Deno.makeTempDir({ prefix: "unibus-model-" });
  let files = 0;
  try {
    await checkAgainstModel({
      runs: runs(60),
      ...seed,
      factory: () => {
        const path = `${folder}/${++files}.db`;
        return Promise.resolve({
          open: (options) => Promise.resolve(openSqlite(path, options)),
          dispose: async () => {
            for await (const { name } of Deno.readDir(folder)) {
              await Deno.remove(`${folder}/${name}`);
            }
          },
        });
      },
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("jetstream does what the model does, whatever the sequence", async () => {
  await using server = await testServer();
  const connection = await connect({ servers: server.url });
  let buckets = 0;
  try {
    const manager = await jetstreamManager(connection);
    // A server that loses its last stream removes their directory, now and then while it makes the next.
    await manager.streams.add({ name: "KEEP", subjects: ["keep"] });
    await checkAgainstModel({
      runs: runs(25),
      ...seed,
      factory: () => {
        const bucket = `model-${++buckets}`;
        return Promise.resolve({
          open: (options) => openJetStream({ servers: server.url, bucket, ...options }),
          dispose: async () => void await manager.streams.delete(`KV_${bucket}`),
        });
      },
    });
  } finally {
    await connection.close();
  }
});
