/** Followers under Node; run by tests/package/node_test.ts. */

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import {
  openJetStream,
  openSqlite,
  promoteFollower,
  type StoreRecord,
  type User,
} from "../../mod.ts";
import { testServer } from "../helpers/nats.ts";
import { users } from "../tools/many.ts";

const SIGN_PUB = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

test("a follower keeps up, answers searches, and becomes the control plane", async () => {
  const directory = await mkdtemp(join(tmpdir(), "unibus-node-follower-"));
  try {
    const follower = join(directory, "follower.db");
    {
      await using server = await testServer();
      await using store = await openJetStream({ servers: server.url, follower });
      await store.addUser({ signPub: SIGN_PUB, kexPub: SIGN_PUB, handle: "ada", role: "admin" });
      const found = await store.search!.users({ search: "ad", limit: 5 });
      assert.deepEqual(found.items.map((user) => user.handle), ["ada"]);
    }
    const { counts, generation } = await promoteFollower({ db: follower });
    assert.deepEqual([counts.users, generation], [1, 1]);
    await using store = openSqlite(follower, { create: false });
    assert.equal(await store.isAuthorized(SIGN_PUB), true);
  } finally {
    await rm(directory, { recursive: true });
  }
});

test("a search of many users fills the index of names, and reads it", async () => {
  const directory = await mkdtemp(join(tmpdir(), "unibus-node-search-"));
  try {
    const path = join(directory, "store.db");
    await using store = openSqlite(path);
    const records = [...users(2000)];
    const keyOf = (it: StoreRecord) => (it.record as User).signPub;
    records.sort((a, b) => keyOf(a) < keyOf(b) ? -1 : 1);
    await store.restore(records);
    const db = new DatabaseSync(path, { readOnly: true });
    const state = db.prepare("SELECT upto FROM user_names_state");
    const search = async () => (await store.search!.users({ search: "user 1999" })).items.length;
    while (state.get()!.upto !== "g") assert.equal(await search(), 1);
    db.close();
    const writer = new DatabaseSync(path);
    writer.exec("DELETE FROM user_names");
    writer.close();
    assert.equal(await search(), 0);
  } finally {
    await rm(directory, { recursive: true });
  }
});
