/**
 * A second copy of a stream that is gone is not in the way of a move into a new one.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { openAhead } from "../../../cli/serve/storage/follower.ts";
import { roleOf } from "../../../src/sqlite/file/role.ts";
import { testServer } from "../../helpers/nats.ts";
import { inDir, person } from "../../helpers/sqlite.ts";

Deno.test("a follower of a stream that was made again is set aside before a move, and only then", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    await using connection = await connect({ servers: server.url });
    const file = `${dir}/follower.db`;
    const logged: string[] = [];
    const open = () => openAhead({ connection }, file, (_level, event) => void logged.push(event));
    for (let i = 0; i < 2; i++) {
      const { store } = await open();
      await store.addUser(person(`ada ${i}`));
      await store.close();
    }
    assert.deepEqual(logged, []);
    await (await jetstreamManager(connection)).streams.delete("KV_UNIBUS");
    const { store, follower } = await open();
    try {
      assert.equal(follower!.state().alarm, null);
      await store.addUser(person("eve"));
    } finally {
      await store.close();
    }
    assert.deepEqual(logged, ["follower.aside"]);
    const aside = readdirSync(dir).find((it) => /^follower\.db\.\d+T\d+Z$/.test(it));
    assert.equal(roleOf(`${dir}/${aside}`).role, "follower");
  }));
