/** Blobs over HTTP: who put one, who may delete it, and how much one user may keep. */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { createClient, createIdentity } from "@unibus/membership/client";
import { openDiskBlobs } from "../../../src/blobs/mod.ts";
import { isProblem, testPlane } from "../kit.ts";
import { inDir } from "../../helpers/sqlite.ts";

const KB = 1024;
const bytesOf = (size: number) => new Uint8Array(randomBytes(size));

Deno.test("who put a blob deletes it; others are refused; an admin deletes whatever it is", () =>
  inDir(async (dir) => {
    await using blobs = await openDiskBlobs(dir);
    await using it = await testPlane({ blobs });
    const [ada, bob, cleo] = [await it.user(), await it.user(), await it.user("admin")];
    const body = bytesOf(100);
    const put = async (as: typeof ada, bytes = body) =>
      (await it.ask("PUT /v1/blobs", { as, body: bytes })).json.id as string;
    const remove = (as: typeof ada, id: string, query = "") =>
      it.ask(`DELETE /v1/blobs/${id}${query}`, { as });
    const id = await put(ada);
    isProblem(await remove(bob, id), 403, "forbidden");
    assert.equal(await put(bob), id);
    assert.deepEqual((await blobs.holders(id))?.owners, [ada.signPub, bob.signPub].sort());
    assert.equal((await remove(ada, id)).status, 204);
    assert.equal((await it.ask(`GET /v1/blobs/${id}`, { as: ada })).status, 200);
    isProblem(await remove(ada, id), 403, "forbidden");
    isProblem(await remove(bob, id, "?all=true"), 403, "forbidden");
    assert.equal((await remove(bob, id)).status, 204);
    isProblem(await it.ask(`GET /v1/blobs/${id}`, { as: bob }), 404, "not_found");
    isProblem(await remove(bob, id), 404, "not_found");
    // An admin: another's at once, its own that others have too only with `all`.
    await put(ada);
    assert.equal((await remove(cleo, id)).status, 204);
    assert.equal(await blobs.stat(id), null);
    await Promise.all([put(ada), put(cleo)]);
    assert.equal((await remove(cleo, id)).status, 204);
    assert.deepEqual((await blobs.holders(id))?.owners, [ada.signPub]);
    await put(cleo);
    assert.equal((await remove(cleo, id, "?all=true")).status, 204);
    assert.equal(await blobs.stat(id), null);
    isProblem(await remove(ada, "xyz"), 400, "invalid", "id");
  }));

Deno.test("one user keeps no more bytes of blobs than the quota, and has room again after a delete", () =>
  inDir(async (dir) => {
    await using blobs = await openDiskBlobs(dir);
    await using it = await testPlane({ blobs, maxBlobBytesPerUser: 100 * KB });
    const [ada, bob] = [await it.user(), await it.user()];
    const put = (as: typeof ada, size: number) =>
      it.ask("PUT /v1/blobs", { as, body: bytesOf(size) });
    const first = await put(ada, 60 * KB);
    assert.equal(first.status, 201);
    const refused = await put(ada, 60 * KB);
    isProblem(refused, 413, "quota_exceeded", "maxBlobBytesPerUser");
    assert.match(refused.json.detail, /102400 bytes/);
    assert.equal((await put(bob, 60 * KB)).status, 201);
    assert.equal((await it.ask(`DELETE /v1/blobs/${first.json.id}`, { as: ada })).status, 204);
    assert.equal((await put(ada, 60 * KB)).status, 201);
  }));

Deno.test("the client deletes blobs", () =>
  inDir(async (dir) => {
    await using blobs = await openDiskBlobs(dir);
    await using it = await testPlane({ blobs });
    const [ada, admin] = [createIdentity(), createIdentity()];
    for (const [{ signPub, kexPub }, role] of [[ada, "user"], [admin, "admin"]] as const) {
      await it.store.addUser({ signPub, kexPub, handle: "x", role });
    }
    const of = (identity: typeof ada) =>
      createClient({ url: "http://127.0.0.1:1", identity, fetch: it.plane.fetch });
    using hers = of(ada);
    using theirs = of(admin);
    const { id } = await hers.putBlob(bytesOf(10));
    await theirs.putBlob(bytesOf(10));
    assert.equal(await hers.deleteBlob(id.toUpperCase()), undefined);
    await assert.rejects(hers.deleteBlob(id), { code: "not_found" });
    await hers.putBlob(bytesOf(10)).then(({ id }) => theirs.deleteBlob(id, { all: true }));
    await assert.rejects(hers.deleteBlob("no"), { code: "invalid" });
  }));

Deno.test("where nobody is named a blob belongs to nobody, and anybody deletes it", () =>
  inDir(async (dir) => {
    await using blobs = await openDiskBlobs(dir);
    await using it = await testPlane({ blobs, busAuth: "off", maxBlobBytesPerUser: 1 });
    const { json: { id } } = await it.ask("PUT /v1/blobs", { body: bytesOf(10) });
    assert.deepEqual(await blobs.holders(id), { owners: [], unowned: true });
    assert.equal((await it.ask(`DELETE /v1/blobs/${id}`)).status, 204);
    assert.equal(await blobs.stat(id), null);
  }));
