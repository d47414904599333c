import assert from "node:assert/strict";
import { followStore, openJetStream, type Store, type StoreError } from "../../mod.ts";
import { repairStream } from "../../src/follower/repair/repair.ts";
import { testServer } from "../helpers/nats.ts";
import { inDir, person } from "../helpers/sqlite.ts";
import { keepDisk } from "./kit.ts";

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

for (const off of [1, -1]) {
  Deno.test(`a repair by a clock that is ${off} hours off writes back what is lost and keeps what is later`, () =>
    inDir(async (dir) => {
      await using server = await testServer();
      const nats = { servers: server.url };
      const [eve, bob] = [person("eve"), person("bob")];
      const db = `${dir}/f.db`;
      await withClock(off * HOUR, async () => {
        const change = async (work: (store: Store) => Promise<unknown>) => {
          await using store = await openJetStream(nats);
          await work(store);
        };
        await change(async (store) => {
          await store.addUser(eve);
          await store.addUser(bob);
        });
        const putBack = await keepDisk(server, dir);
        await change((store) => store.revokeUser(eve.signPub));
        {
          await using follower = await followStore({ nats, db });
          await follower.whenExact();
        }
        await putBack();
        // At a sequence that the file has read already.
        await change((store) => store.revokeUser(bob.signPub));
        const { changes, kept } = await repairStream({ db, nats });
        assert.deepEqual([changes.replace, kept], [1, 1]);
        await using store = await openJetStream({ ...nats, follower: db });
        for (const it of [eve, bob]) {
          assert.equal((await store.getUser(it.signPub)).status, "revoked");
        }
      });
    }));
}
