import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openDiskBlobs } from "../../../src/blobs/mod.ts";
import {
  type Client,
  createClient,
  createIdentity,
  type HttpFailure,
  type Identity,
  isStoreError,
  type StoreErrorCode,
} from "../../../src/client/mod.ts";
import { createControlPlane } from "../../../src/http/control_plane.ts";
import type { ControlPlaneOptions } from "../../../src/http/options.ts";
import type { Store } from "../../../src/core/store.ts";
import { openSqlite } from "../../../src/sqlite/mod.ts";

interface Plane extends AsyncDisposable {
  store: Store;
  directory: string;
  /** Somebody's client. */
  of(identity?: Identity): Client;
  /** A user of the store, and its client. */
  user(handle: string, role?: "admin"): Promise<[Client, Identity]>;
}

async function plane(options: ControlPlaneOptions = {}): Promise<Plane> {
  const directory = await mkdtemp(join(tmpdir(), "unibus-client-"));
  const store = openSqlite(":memory:");
  const blobs = await openDiskBlobs(join(directory, "blobs"));
  const { fetch } = createControlPlane(store, { blobs, ...options });
  const of = (identity?: Identity) =>
    createClient({ url: "http://localhost:8470", fetch, ...(identity && { identity }) });
  return {
    store,
    directory,
    of,
    user: async (handle, role) => {
      const identity = createIdentity();
      const { signPub, kexPub } = identity;
      await store.addUser({ signPub, kexPub, handle, ...(role && { role }) });
      return [of(identity), identity];
    },
    [Symbol.asyncDispose]: async () => {
      await blobs.close();
      await store.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

function fails(promise: Promise<unknown>, code: StoreErrorCode, status?: number): Promise<void> {
  return assert.rejects(promise, (error) => {
    assert.ok(isStoreError(error), String(error));
    assert.equal(error.code, code, error.message);
    const cause = error.cause as HttpFailure | undefined;
    if (status !== undefined) {
      assert.equal(cause?.status, status);
      assert.match(cause.requestId!, /^[\w-]{8,}$/);
    }
    return true;
  });
}

Deno.test("a room of 10,000 members is created and rekeyed", async () => {
  await using it = await plane();
  const [ada, { signPub, kexPub }] = await it.user("ada");
  const key = () => randomBytes(32).toString("hex");
  const members = Array.from({ length: 9_999 }, () => ({ endpoint: key(), kexPub: key() }));
  const everybody = [{ endpoint: signPub, kexPub }, ...members];
  const sealedKeys = everybody.map(({ endpoint }) => ({ endpoint, sealedKey: randomBytes(209) }));
  const room = { id: "hall", members, sealedKeys };
  await ada.createRoom(room);
  assert.equal(await it.store.countMembers("hall"), 10_000);
  assert.equal((await ada.rekeyRoom("hall", { epoch: 2, sealedKeys })).epoch, 2);
});

Deno.test("an invite makes a user of an identity, once", async () => {
  await using it = await plane();
  const [admin] = await it.user("root", "admin");
  const { invite, token } = await admin.createInvite({
    role: "user",
    note: "for ada",
    expiresIn: 60_000,
  });
  assert.equal(invite.note, "for ada");

  const identity = createIdentity();
  const ada = it.of(identity);
  await fails(ada.me(), "forbidden", 403);
  const user = await ada.register(token, "ada");
  assert.deepEqual(user, await it.store.getUser(identity.signPub));
  assert.deepEqual([user.signPub, user.kexPub], [identity.signPub, identity.kexPub]);
  const endpoint = identity.signPub;
  assert.deepEqual(await ada.me(), { endpoint, user, waitingFor: [] });

  // With a room, the user waits for its owner.
  await ada.createRoom({ id: "kitchen", encrypted: false });
  const { token: link } = await admin.createInvite({ room: "kitchen" });
  assert.equal((await it.of().checkInvite(link)).room, "kitchen");
  const bob = createIdentity();
  const waiting = await it.of(bob).register(link, "bob");
  assert.deepEqual((await it.of(bob).me()).waitingFor, ["kitchen"]);
  for await (const found of ada.waiting("kitchen")) assert.deepEqual(found, waiting);
  assert.equal((await ada.addMember("kitchen", waiting)).accepted, false);
  assert.deepEqual(await ada.listWaiting("kitchen"), { items: [], next: null });

  await fails(it.of(createIdentity()).register(token, "eve"), "invite_used", 410);
  await fails(it.of(createIdentity()).register("0".repeat(64), "eve"), "not_found", 404);
  await fails(it.of().register(token, "eve"), "unauthenticated");
});

Deno.test("admins administer users and invites through it", async () => {
  await using it = await plane();
  const [admin, root] = await it.user("root", "admin");
  const [ada] = await it.user("ada");
  const bob = createIdentity();
  const { signPub, kexPub } = bob;
  const added = await admin.addUser({ signPub, kexPub, handle: "bob", role: "user" });
  assert.equal(added.handle, "bob");
  assert.deepEqual(await admin.getUser(signPub), added);
  await fails(admin.addUser({ signPub, kexPub, handle: "bob" }), "user_exists", 409);

  const first = await admin.listUsers({ limit: 2 });
  assert.equal(first.items.length, 2);
  const rest = await admin.listUsers({ limit: 2, after: first.next });
  assert.equal(rest.items.length, 1);
  assert.equal(rest.next, null);
  assert.deepEqual([...first.items, ...rest.items], (await it.store.listUsers()).items);

  assert.equal((await admin.revokeUser(signPub)).status, "revoked");
  await fails(it.of(bob).me(), "forbidden", 403);
  assert.equal((await admin.restoreUser(signPub)).status, "active");
  await it.of(bob).me();
  assert.equal(await admin.deleteUser(signPub), undefined);
  await fails(admin.getUser(signPub), "not_found", 404);
  await fails(admin.revokeUser(root.signPub), "last_admin", 409);
  await fails(admin.deleteUser(root.signPub, { force: false }), "last_admin", 409);

  const { invite } = await admin.createInvite();
  assert.deepEqual(await admin.getInvite(invite.id), invite);
  assert.deepEqual((await admin.listInvites()).items, [invite]);
  assert.notEqual((await admin.cancelInvite(invite.id)).canceledAt, null);
  await fails(ada.listInvites(), "forbidden", 403);
  await fails(ada.createInvite({ role: "admin" }), "forbidden", 403);

  await fails(admin.getUser("nobody"), "invalid");
  await fails(admin.getInvite("../users"), "invalid");
  await assert.rejects(admin.createInvite({ expiresIn: -1 }), {
    code: "invalid",
    field: "expiresIn",
  });
  await admin.revokeUser(root.signPub, { force: true });
  await fails(admin.me(), "forbidden", 403);
});

Deno.test("rooms, members and sealed keys go through it unchanged", async () => {
  await using it = await plane();
  const [ada, adaIs] = await it.user("ada");
  const [bob, bobIs] = await it.user("bob");
  const sealed = (endpoint: Identity) => ({
    endpoint: endpoint.signPub,
    sealedKey: new Uint8Array(randomBytes(80)),
  });
  const member = (of: Identity) => ({ endpoint: of.signPub, kexPub: of.kexPub });

  for (const id of ["kitchen", "a/b?c#d%2F&e=f", "küche.Ω", "'!()~", "%2e%2e"]) {
    const keys = [sealed(adaIs), sealed(bobIs)];
    const room = await ada.createRoom({ id, members: [member(bobIs)], sealedKeys: keys });
    assert.equal(room.id, id);
    assert.equal(room.owner, adaIs.signPub);
    assert.deepEqual(await bob.getRoom(id), room);
    assert.equal((await bob.getMember(id, bobIs.signPub)).role, "member");
    assert.deepEqual((await bob.getSealedKey(id)).sealedKey, keys[1]!.sealedKey);
  }
  await fails(ada.createRoom({ id: "kitchen", encrypted: false }), "room_exists", 409);
  assert.equal((await bob.listRooms()).items.length, 5);
  assert.equal((await bob.listRooms({ limit: 4 })).items.length, 4);
  await fails(bob.listRooms({ all: true }), "forbidden", 403);

  const [eve, eveIs] = await it.user("eve");
  await fails(eve.getRoom("kitchen"), "not_found", 404);
  await fails(bob.addMember("kitchen", member(eveIs)), "forbidden", 403);
  const key = { epoch: 1, sealedKey: sealed(eveIs).sealedKey };
  assert.equal((await ada.addMember("kitchen", member(eveIs), key)).endpoint, eveIs.signPub);
  await fails(ada.addMember("kitchen", member(eveIs)), "member_exists", 409);
  assert.deepEqual((await eve.getSealedKey("kitchen", 1)).sealedKey, key.sealedKey);
  assert.equal((await eve.listMembers("kitchen", { limit: 2 })).items.length, 2);
  const names = new Map([[adaIs.signPub, "ada"], [bobIs.signPub, "bob"], [eveIs.signPub, "eve"]]);
  for await (const it of eve.members("kitchen", { handles: true, limit: 2 })) {
    assert.equal(it.handle, names.get(it.endpoint));
    assert.equal(it.status, "active");
    names.delete(it.endpoint);
  }
  assert.equal(names.size, 0);
  for (const it of (await eve.listMembers("kitchen")).items) assert.equal("handle" in it, false);

  await ada.removeMember("kitchen", eveIs.signPub);
  await fails(eve.getSealedKey("kitchen"), "not_found", 404);
  await fails(ada.removeMember("kitchen", adaIs.signPub), "room_owner", 409);
  const next = { epoch: 2, sealedKeys: [sealed(adaIs), sealed(bobIs)] };
  assert.equal((await ada.rekeyRoom("kitchen", next)).epoch, 2);
  await fails(ada.rekeyRoom("kitchen", next), "conflict", 409);
  assert.deepEqual((await bob.getSealedKey("kitchen")).sealedKey, next.sealedKeys[1]!.sealedKey);
  const again = { roomId: "kitchen", epoch: 2, ...sealed(bobIs) };
  assert.deepEqual((await ada.putSealedKey(again)).sealedKey, again.sealedKey);
  const { items } = await ada.listSealedKeys("kitchen", { epoch: 2 });
  assert.deepEqual(
    items.find((it) => it.endpoint === bobIs.signPub)!.sealedKey,
    again.sealedKey,
  );
  await fails(bob.listSealedKeys("kitchen"), "forbidden", 403);
  await bob.removeMember("kitchen", bobIs.signPub);
  await ada.deleteRoom("kitchen");
  await fails(ada.getRoom("kitchen"), "not_found", 404);
});

Deno.test("what cannot be a room or a key is refused before it is sent", async () => {
  await using it = await plane();
  const [ada, adaIs] = await it.user("ada");
  const member = { endpoint: adaIs.signPub, kexPub: adaIs.kexPub };
  for (const id of ["", "..", ".", "a b", "a*", "\ud800", 7 as unknown as string]) {
    for (
      const promise of [
        ada.getRoom(id),
        ada.deleteRoom(id),
        ada.addMember(id, member),
        ada.getSealedKey(id),
        ada.rekeyRoom(id, { epoch: 2, sealedKeys: [] }),
      ]
    ) await fails(promise, "invalid");
  }
  const sealedKeys = [{ endpoint: adaIs.signPub, sealedKey: "text" as unknown as Uint8Array }];
  await assert.rejects(ada.createRoom({ id: "x", sealedKeys }), {
    code: "invalid",
    field: "sealedKeys[0].sealedKey",
  });
  await assert.rejects(
    ada.addMember("x", member, { epoch: 1, sealedKey: new Uint8Array() }),
    { code: "invalid", field: "key.sealedKey" },
  );
});

const bytesOf = async (stream: ReadableStream<Uint8Array>) =>
  new Uint8Array(
    await new Response(stream as ReadableStream<Uint8Array<ArrayBuffer>>).arrayBuffer(),
  );
const idOf = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

Deno.test("blobs come back as they were stored, from memory, a file or a stream", async () => {
  await using it = await plane();
  const [ada] = await it.user("ada");
  for (const size of [0, 1, 300_000]) {
    const bytes = new Uint8Array(randomBytes(size));
    const path = join(it.directory, `${size}`);
    await writeFile(path, bytes);
    const stream = new Blob([bytes]).stream();
    for (const source of [bytes, { path }, { stream, digest: idOf(bytes) }]) {
      assert.deepEqual(await ada.putBlob(source), { id: idOf(bytes), size });
    }
    const blob = await ada.getBlob(idOf(bytes));
    assert.equal(blob.size, size);
    assert.deepEqual(await bytesOf(blob.body), bytes);
    assert.deepEqual(await ada.statBlob(idOf(bytes)), { id: idOf(bytes), size });
    if (size > 1) {
      const part = await ada.getBlob(idOf(bytes), { start: 10, end: 19 });
      assert.equal(part.size, size);
      assert.deepEqual(await bytesOf(part.body), bytes.slice(10, 20));
      const tail = await ada.getBlob(idOf(bytes), { start: size - 5 });
      assert.deepEqual(await bytesOf(tail.body), bytes.slice(-5));
    }
  }
  await fails(ada.getBlob("0".repeat(64)), "not_found", 404);
  await fails(ada.statBlob("0".repeat(64)), "not_found");
  await fails(ada.getBlob("x"), "invalid");
  await fails(ada.putBlob({ path: join(it.directory, "none") }), "invalid");
  const wrong = new Blob([new Uint8Array(10)]).stream();
  await fails(ada.putBlob({ stream: wrong, digest: "ab".repeat(32) }), "invalid", 400);
  await fails(it.of(createIdentity()).putBlob(new Uint8Array(3)), "forbidden", 403);
});

Deno.test("a blob above the limit is too_large", async () => {
  await using it = await plane({ maxBlobBytes: 1000 });
  const [ada] = await it.user("ada");
  await ada.putBlob(new Uint8Array(1000));
  await fails(ada.putBlob(new Uint8Array(1001)), "too_large", 413);
});

Deno.test("what needs no signature needs no identity", async () => {
  await using it = await plane({ detailsFor: "anyone" });
  const client = it.of();
  assert.equal(await client.isAlive(), true);
  assert.equal((await client.readiness()).ok, true);
  assert.match(await client.metrics(), /^# HELP/m);
  assert.match(String((await client.openApi()).openapi), /^3\.1/);
  await fails(client.me(), "unauthenticated");
  await it.store.close();
  // The server may repeat its last finding for a moment.
  let found = await client.readiness();
  while (found.ok) found = await client.readiness();
  assert.equal(found.ok, false);
  assert.ok(found.checks.some((check) => !check.ok));
});

Deno.test("no secret of an identity is in what is sent", async () => {
  await using it = await plane();
  const identity = createIdentity();
  const sent: string[] = [];
  const { fetch } = createControlPlane(it.store);
  const client = createClient({
    url: "http://localhost:8470/",
    identity,
    fetch: async (request) => {
      sent.push(JSON.stringify([request.url, ...request.headers]), await request.clone().text());
      return await fetch(request);
    },
  });
  const { token } = await it.store.createInvite({ createdBy: "cli" });
  await client.register(token, "ada");
  await client.createRoom({ id: "kitchen", encrypted: false });
  assert.equal(sent.length, 4);
  assert.ok(!sent[0]!.includes(token), "a token is in the body only");
  assert.ok(sent[1]!.includes(token));
  const seed = new TextDecoder().decode(identity.natsSeed());
  for (const text of sent) assert.ok(!text.includes(seed) && !text.includes("seed"));
});
