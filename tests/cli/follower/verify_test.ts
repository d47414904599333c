import assert from "node:assert/strict";
import { followStore, openJetStream } from "../../../mod.ts";
import { rawBucket } from "../../follower/kit.ts";
import { testServer } from "../../helpers/nats.ts";
import { inDir, newRoom, person } from "../../helpers/sqlite.ts";
import { cli, documentOf } from "../kit.ts";
import { done } from "./kit.ts";

Deno.test("verify and doctor compare a bucket with a follower by key, in use and after damage", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const db = `${dir}/f.db`;
    await using store = await openJetStream({ servers: server.url });
    for (let i = 0; i < 3; i++) await store.addUser({ ...person(i), role: "admin" });
    await store.createRoom(newRoom("lab", 2));
    const url = ["--nats-url", server.url];
    const verify = ["verify", "--db", db, ...url];
    const doctor = ["doctor", "--follower", db, ...url, "--json"];
    const follower = async () =>
      documentOf(await cli(doctor)).findings.filter((it: { check: string }) =>
        it.check === "follower"
      );
    assert.match((await follower())[0].message, /f\.db: no such file|does not exist|f\.db/);
    {
      await using running = await followStore({ nats: { servers: server.url }, db });
      await running.whenExact();
      const { stdout } = await done(cli(verify));
      assert.match(stdout, /^equal: \d+ keys at position \d+/);
      const [found] = await follower();
      assert.equal(found.level, "ok");
      assert.match(found.message, /at position \d+, \d+ messages? behind/);
      await using raw = await rawBucket(server.url);
      await raw.put(`users.${person(7).signPub}`, "{}");
      await running.whenExact();
      const [invalid] = await follower();
      assert.equal(invalid.level, "problem");
      assert.match(invalid.message, /users\.\w+ is not valid: /);
    }
    // Written after the file's position: no difference.
    await store.addUser(person(4));
    const later = documentOf(await done(cli([...verify, "--json"])));
    assert.deepEqual([later.equal, later.differences, later.newer], [true, [], 1]);
    await using raw = await rawBucket(server.url);
    await raw.api("PURGE", { filter: `$KV.UNIBUS.users.${person(1).signPub}` });
    const damaged = await cli([...verify, "--json"]);
    assert.equal(damaged.code, 3, damaged.stderr);
    const { equal, differences } = documentOf(damaged);
    assert.equal(equal, false);
    assert.deepEqual(differences, [{
      key: `users.${person(1).signPub}`,
      change: "only-follower",
    }]);
    const messages = (await follower()).map((it: { message: string }) => it.message).join("\n");
    assert.match(messages, /1 key differs from .*membershipd verify --db/);
    // A start notes the alarm in the file.
    await (await followStore({ nats: { servers: server.url }, db })).close();
    const told = (await follower()).map((it: { message: string }) => it.message).join("\n");
    assert.match(told, /Following bucket UNIBUS: .*repair --from follower/);
  }));
