/**
 * A live move whose file has no room left after the bucket was completed.
 *
 * @module
 */

import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { growStore, openJetStream, openSqlite, settleGrow } from "../../../../mod.ts";
import { connectNats } from "../../../../src/nats/connection/connect.ts";
import { interposed } from "../../../helpers/interposed.ts";
import { failsWith, person } from "../../../helpers/sqlite.ts";
import { smallDisk } from "../../../helpers/disk.ts";
import { placeTests, populate } from "../../kit.ts";
import { servingSide, sidesOf } from "./kit.ts";

const test = placeTests();
const COMPLETE = `"action":"store.moved"`;

test("A file without room for the row counts as moved, and the row is written when there is room", async ({ dir, nats }) => {
  const directory = `${dir}/small`;
  const disk = await smallDisk(directory, 4);
  if (disk === null) return;
  await using _disk = disk;
  const db = `${directory}/unibus.db`;
  const nc = await connectNats({ servers: nats.servers });
  {
    await using store = openSqlite(db);
    await populate(store);
    const connection = interposed(
      nc as Parameters<typeof interposed>[0],
      (payload) => payload.includes(COMPLETE),
      {
        after: async () => {
          await writeFile(`${directory}/rest`, new Uint8Array(4 << 20)).catch(() => {});
        },
      },
    );
    await using target = await openJetStream({ ...nats, connection, allowInProgress: true });
    const report = await growStore(store, { target });
    assert.equal(report.noted, false);
    assert.equal(store.backend, "jetstream");
    await store.addUser(person("after"));
  }
  await nc.close();
  const sides = await sidesOf(db, nats);
  assert.deepEqual([sides.file.role, sides.file.frozen], ["primary", true]);
  assert.equal(servingSide(sides), "bucket");
  await failsWith("in_progress", () => openSqlite(db));
  await disk.grow();
  assert.equal(await settleGrow({ db, nats }), "moved");
  await failsWith("refused", () => openSqlite(db), /its control plane moved to bucket/);
});
