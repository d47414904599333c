import assert from "node:assert/strict";
import { followStore, openJetStream, type StoreError } from "../../mod.ts";
import { testServer } from "../helpers/nats.ts";
import { inDir, person } from "../helpers/sqlite.ts";

const HOUR = 3_600_000;

/** Runs `work` with this process's clock that much off. */
async function withClock(off: number, work: () => Promise<void>): Promise<void> {
  const { now } = Date;
  Date.now = () => now() + off;
  try {
    await work();
  } finally {
    Date.now = now;
  }
}

for (const off of [25, -25]) {
  Deno.test(`a clock that is ${off} hours off raises no alarm, and nothing is lost`, () =>
    inDir(async (dir) => {
      await using server = await testServer();
      const nats = { servers: server.url };
      await using store = await openJetStream(nats);
      for (let i = 0; i < 6; i++) await store.addUser(person(i));
      for (let i = 0; i < 3; i++) await store.deleteUser(person(i).signPub);
      const alarms: StoreError[] = [];
      const options = { nats, db: `${dir}/f.db`, onAlarm: (it: StoreError) => alarms.push(it) };
      await (await followStore(options)).close();
      await withClock(off * HOUR, async () => {
        await using follower = await followStore(options);
        assert.equal((await follower.whenExact()).entries, 3);
        // Some looks at the stream's numbers.
        for (let i = 6; i < 10; i++) {
          await new Promise((resolve) => setTimeout(resolve, 1000));
          await store.addUser(person(i));
        }
        assert.equal((await follower.whenExact()).entries, 7);
      });
      assert.deepEqual(alarms, []);
    }));
}
