/**
 * A follower that is about to be closed.
 *
 * @module
 */

import assert from "node:assert/strict";
import { copyFile } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { switchOf } from "../../../src/core/store/switching.ts";
import { FileFollower } from "../../../src/follower/follower.ts";
import { followerOf, openFollowed } from "../../../src/follower/open.ts";
import { testServer } from "../../helpers/nats.ts";
import { inDir, person } from "../../helpers/sqlite.ts";

Deno.test("a follower that rests has everything in its file, without the log, and follows on", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const db = `${dir}/follower.db`;
    const { store } = await openFollowed({ servers: server.url, follower: db });
    await using _ = store;
    const follower = followerOf(switchOf(store).current);
    assert.ok(follower instanceof FileFollower);
    await store.addUser(person("ada"));
    await follower.whenExact();
    await follower.rest(60_000);
    await copyFile(db, `${dir}/alone.db`);
    assert.deepEqual(handlesIn(`${dir}/alone.db`), [person("ada").handle]);
    await store.addUser(person("bob"));
    await follower.whenExact();
    assert.equal(handlesIn(db).length, 2);
  }));

function handlesIn(path: string): unknown[] {
  using file = new DatabaseSync(path, { readOnly: true });
  return file.prepare("SELECT handle FROM users").all().map(({ handle }) => handle);
}
