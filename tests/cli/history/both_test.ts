import assert from "node:assert/strict";
import { openJetStream, openSqlite } from "../../../mod.ts";
import { newUser } from "../../conformance/kit/kit.ts";
import { testServer } from "../../helpers/nats.ts";
import { inDir } from "../../helpers/sqlite.ts";
import { cli, documentOf } from "../kit.ts";

Deno.test("verify compares the histories of both sides of a move too", async () => {
  await using server = await testServer();
  await inDir(async (dir) => {
    const db = `${dir}/unibus.db`;
    {
      await using store = openSqlite(db);
      for (let i = 0; i < 5; i++) await store.addUser(newUser());
    }
    const both = ["--db", db, "--nats-url", server.url];
    const moved = await cli(["migrate-to-kv", ...both, "--no-backup"]);
    assert.equal(moved.code, 0, moved.stderr);
    const equal = await cli(["verify", ...both]);
    assert.equal(equal.code, 0, equal.stderr);
    assert.match(equal.stdout, /^history: 5 equal entries$/m);
    let revision: string | null;
    {
      await using store = await openJetStream({ servers: server.url });
      const { items: [move] } = await store.history({ action: "store.moved" });
      assert.match(move!.by, /^cli:.+@.+/);
      const acting = store.as("cli:eve@n1");
      const { signPub } = await acting.addUser(newUser());
      revision = acting.revision;
      await acting.deleteUser(signPub);
    }
    // The records are the same again.
    const different = await cli(["verify", ...both, "--json"]);
    assert.equal(different.code, 3, different.stderr);
    const { equal: isEqual, history } = documentOf(different);
    assert.equal(isEqual, false);
    assert.deepEqual(history, { equal: false, entries: 5, differs: revision });
  });
});
