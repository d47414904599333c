import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { getRequestListener } from "@hono/node-server";
import { openDiskBlobs } from "../../../src/blobs/mod.ts";
import { createClient, createIdentity, isStoreError } from "../../../src/client/mod.ts";
import { createControlPlane } from "../../../src/http/control_plane.ts";
import { serve } from "../../../src/http/serve/serve.ts";
import { openSqlite } from "../../../src/sqlite/mod.ts";
import { testAuthority, testTls } from "../../helpers/tls.ts";

interface TlsPlane extends AsyncDisposable {
  url: string;
  ca: string;
  otherCa: string;
  directory: string;
  identity: ReturnType<typeof createIdentity>;
  connections(): number;
}

async function tlsPlane(): Promise<TlsPlane> {
  const tls = await testTls();
  const directory = await mkdtemp(join(tmpdir(), "unibus-client-"));
  const store = openSqlite(":memory:");
  const blobs = await openDiskBlobs(join(directory, "blobs"));
  const identity = createIdentity();
  const { signPub, kexPub } = identity;
  await store.addUser({ signPub, kexPub, handle: "ada" });
  const { fetch } = createControlPlane(store, { blobs });
  const { cert, key } = tls.server;
  const server = createServer(
    { cert: await readFile(cert), key: await readFile(key) },
    // Its own Response in place of the runtime's would be none to Deno.serve.
    getRequestListener((request) => fetch(request), { overrideGlobalObjects: false }),
  );
  let connections = 0;
  server.on("secureConnection", () => connections++);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    ca: await readFile(tls.caFile, "utf8"),
    otherCa: await readFile(tls.otherCaFile, "utf8"),
    directory,
    identity,
    connections: () => connections,
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
      await blobs.close();
      await store.close();
      await tls[Symbol.asyncDispose]();
      await rm(directory, { recursive: true });
    },
  };
}

Deno.test("a private authority is trusted, over connections that are kept", async () => {
  await using it = await tlsPlane();
  using client = createClient({ url: it.url, ca: it.ca, identity: it.identity });
  for (let i = 0; i < 20; i++) assert.equal((await client.me()).endpoint, it.identity.signPub);
  assert.equal(it.connections(), 1);
  const room = await client.createRoom({ id: "küche/1", encrypted: false });
  assert.deepEqual(await client.getRoom("küche/1"), room);
  await client.deleteRoom("küche/1");
  await assert.rejects(client.getRoom("küche/1"), (error) => isStoreError(error, "not_found"));
});

Deno.test("blobs are streamed both ways over TLS with a private authority", async () => {
  await using it = await tlsPlane();
  using client = createClient({ url: it.url, ca: it.ca, identity: it.identity });
  const bytes = new Uint8Array(randomBytes(3_000_000));
  const id = createHash("sha256").update(bytes).digest("hex");
  const path = join(it.directory, "blob");
  await writeFile(path, bytes);
  assert.deepEqual(await client.putBlob({ path }), { id, size: bytes.length });
  assert.deepEqual(await client.putBlob(bytes), { id, size: bytes.length });
  assert.deepEqual(await client.statBlob(id), { id, size: bytes.length });
  const { body } = await client.getBlob(id);
  const hash = createHash("sha256");
  for await (const chunk of body) hash.update(chunk);
  assert.equal(hash.digest("hex"), id);
  // One that is not read to the end is let go.
  const unread = await client.getBlob(id);
  await unread.body.cancel();
  assert.equal((await client.statBlob(id)).size, bytes.length);
});

Deno.test("an authority that did not sign is not trusted, nor one that nobody named", async () => {
  await using it = await tlsPlane();
  for (const more of [{ ca: it.otherCa }, {}]) {
    using client = createClient({ url: it.url, identity: it.identity, retries: 0, ...more });
    await assert.rejects(client.me(), (error) => isStoreError(error, "unavailable"));
    assert.equal(await client.isAlive(), false);
  }
  // The name is looked at too: the certificate is for 127.0.0.1 and localhost.
  const url = it.url.replace("127.0.0.1", "127.0.0.2");
  using client = createClient({ url, ca: it.ca, identity: it.identity, retries: 0 });
  await assert.rejects(client.me(), (error) => isStoreError(error, "unavailable"));
});

for (const hardened of [false, true]) {
  Deno.test(`what the client signs, the server takes (hardened: ${hardened})`, async () => {
    await using store = openSqlite(":memory:");
    const { token } = await store.createInvite({ createdBy: "cli" });
    const identity = createIdentity();
    const tls = testAuthority("a CA");
    const pair = tls.issue("server");
    const plane = createControlPlane(store);
    for (const over of [{}, { tls: pair }]) {
      await using server = await serve(plane, { hardened, ...over });
      const more = "tls" in over ? { ca: tls.cert } : {};
      using client = createClient({ url: server.url, identity, ...more });
      if (!("tls" in over)) await client.register(token, "ada");
      assert.equal((await client.me()).user?.handle, "ada");
      const room = await client.createRoom({ id: "a/b?c", encrypted: false });
      assert.deepEqual((await client.listRooms({ limit: 1, after: "a" })).items, [room]);
      await client.deleteRoom(room.id);
    }
  });
}
