/** A snapshot as a download: what is in it, who may have it, and one at a time. */

import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { exportSnapshot, openSqlite } from "@unibus/membership";
import { createClient, createIdentity } from "@unibus/membership/client";
import { createControlPlane } from "@unibus/membership/http";
import { hex, inDir, person } from "../../helpers/sqlite.ts";
import { isProblem, requestOf, testPlane } from "../kit.ts";

Deno.test("a snapshot over HTTP is that of the store, for admins only, and is audited", async () => {
  await using it = await testPlane();
  const [admin, user] = [await it.user("admin"), await it.user()];
  await it.store.createInvite({ createdBy: "cli" });
  isProblem(await it.ask("GET /v1/snapshot", { as: user }), 403, "forbidden");
  const { status, text, headers } = await it.ask("GET /v1/snapshot", { as: admin });
  assert.equal(status, 200);
  assert.equal(text, await new Response(exportSnapshot(it.store)).text());
  assert.match(
    headers.get("content-disposition")!,
    /^attachment; filename="unibus-[\d-]{10}.ndjson"$/,
  );
  assert.equal(headers.get("cache-control"), "no-store");
  const { paths } = (await it.ask("GET /openapi.json")).json;
  assert.ok("200" in paths["/v1/snapshot"].get.responses);
  const audit = it.events.filter((it) => it.event === "audit");
  assert.deepEqual(audit.map(({ action, by }) => [action, by]), [["snapshot", admin.signPub]]);
});

Deno.test("one snapshot is read at a time; one that is left or has ended makes room", async () => {
  await using it = await testPlane();
  const admin = await it.user("admin");
  // More than one part.
  const many = Array.from(
    { length: 1000 },
    (_, i) => ({ ...person(i), signPub: hex(`many ${i}`) }),
  );
  for (const { signPub, kexPub } of many) {
    await it.store.addUser({ signPub, kexPub, handle: "x".repeat(64) });
  }
  const request = async () =>
    await it.plane.fetch(await requestOf("GET /v1/snapshot", { as: admin }), {
      address: "127.0.0.1",
    });
  const first = await request();
  assert.equal(first.status, 200);
  const second = await request();
  assert.equal(second.status, 429);
  assert.equal((await second.json()).code, "rate_limited");
  await first.body!.cancel();
  const third = await request();
  assert.equal(third.status, 200);
  await third.text();
  assert.equal((await request()).status, 200);
});

Deno.test("to ask for the headers of a snapshot begins none, which nothing would end", () =>
  inDir(async (dir) => {
    const path = `${dir}/a.db`;
    await using it = await testPlane({ store: openSqlite(path) });
    const admin = await it.user("admin");
    for (let i = 0; i < 400; i++) {
      await it.store.addUser({ ...person(i), signPub: hex(`many ${i}`), handle: "x".repeat(64) });
    }
    const { status, headers } = await it.ask("HEAD /v1/snapshot", { as: admin });
    assert.deepEqual([status, headers.get("content-type")], [200, "application/octet-stream"]);
    await it.store.addUser({ ...person("last"), handle: "last" });
    // One that reads would keep the log from being emptied.
    using db = new DatabaseSync(path);
    assert.equal(db.prepare("PRAGMA wal_checkpoint(TRUNCATE)").get()!.busy, 0);
  }));

Deno.test("a client reads a snapshot as a stream", async () => {
  await using store = openSqlite(":memory:");
  const identity = createIdentity();
  const { signPub, kexPub } = identity;
  await store.addUser({ signPub, kexPub, handle: "ada", role: "admin" });
  const plane = createControlPlane(store);
  const client = createClient({
    url: "http://bus.example:8470",
    identity,
    fetch: (request: Request) => plane.fetch(request, { address: "127.0.0.1" }),
  });
  const text = await new Response(await client.snapshot()).text();
  assert.equal(text, await new Response(exportSnapshot(store)).text());
  await client.close();
});
