/** The server's settings of limits and quotas, as they take effect. */

import assert from "node:assert/strict";
import { mkdir, open, statfs } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { openSqlite, type StoreRecord } from "@unibus/membership";
import { createClient, createIdentity, type Identity } from "@unibus/membership/client";
import { maxBlobStore, maxFileStore } from "../../../cli/serve/checks/room.ts";
import { isStoreError } from "../../../mod.ts";
import { daemon } from "../serve/kit.ts";
import { inDir, person } from "../../helpers/sqlite.ts";

/** Somebody's sealed key; nobody opens it here. */
const keysOf = (...people: Identity[]) =>
  people.map(({ signPub }) => ({ endpoint: signPub, sealedKey: new Uint8Array(60) }));

/** The quota that a call is refused for. */
async function quotaOf(call: Promise<unknown>): Promise<string | undefined> {
  const error = await call.then(() => null, (error) => error);
  assert.ok(isStoreError(error, "quota_exceeded"), `${error}`);
  return error.field;
}

Deno.test("the server's quotas are those of its settings", () =>
  inDir(async (dir) => {
    const [ada, bob, cleo] = [createIdentity(), createIdentity(), createIdentity()];
    {
      await using store = openSqlite(`${dir}/a.db`);
      for (const { signPub, kexPub } of [ada, bob]) {
        await store.addUser({ signPub, kexPub, handle: "x", role: "admin" });
      }
    }
    const limits = ["--max-rooms-per-owner=2", "--max-members-per-room=2", "--max-epochs-kept=3"];
    await using server = await daemon(dir, ["--bus-auth", "enforce", ...limits]);
    using client = createClient({ url: server.http, identity: ada });
    await client.createRoom({ id: "a", sealedKeys: keysOf(ada) });
    await client.createRoom({ id: "b", encrypted: false });
    assert.equal(
      await quotaOf(client.createRoom({ id: "c", encrypted: false })),
      "maxRoomsPerOwner",
    );
    const member = ({ signPub, kexPub }: Identity) => ({ endpoint: signPub, kexPub });
    await client.addMember("b", member(bob));
    assert.equal(await quotaOf(client.addMember("b", member(cleo))), "maxMembersPerRoom");
    for (let epoch = 2; epoch <= 5; epoch++) {
      await client.rekeyRoom("a", { epoch, sealedKeys: keysOf(ada) });
    }
    const { items } = await client.listSealedKeys("a");
    assert.deepEqual(items.map((it) => it.epoch), [3, 4, 5]);
  }));

Deno.test("invites that have been over for longer than they are kept are removed at the start", () =>
  inDir(async (dir) => {
    const at = (days: number) => new Date(Date.now() - days * 86_400_000).toISOString();
    const invite = (n: number, ended: number, how: "usedAt" | "canceledAt" | "expiresAt") => ({
      kind: "invites" as const,
      record: {
        id: String(n).repeat(64),
        createdBy: "cli",
        role: "user" as const,
        note: "",
        createdAt: at(60),
        expiresAt: at(-1),
        usedAt: null,
        usedBy: how === "usedAt" ? person(1).signPub : null,
        canceledAt: null,
        [how]: at(ended),
      },
    });
    const records: StoreRecord[] = [
      invite(1, 11, "usedAt"),
      invite(2, 11, "canceledAt"),
      invite(3, 11, "expiresAt"),
      invite(4, 9, "usedAt"),
      invite(5, 9, "expiresAt"),
      invite(6, -1, "expiresAt"),
    ];
    {
      await using store = openSqlite(`${dir}/a.db`);
      await store.restore(records);
    }
    await using server = await daemon(dir, ["--keep-invites", "10"]);
    assert.equal((await server.event("invites.pruned")).removed, 3);
    const { items } = await (await fetch(`${server.http}/v1/invites`)).json();
    assert.deepEqual(items.map((it: { id: string }) => it.id[0]), ["4", "5", "6"]);
  }));

Deno.test("--max-connections-per-address bounds the connections on loopback too", () =>
  inDir(async (dir) => {
    await using server = await daemon(dir, ["--max-connections-per-address", "3"]);
    const port = Number(new URL(server.http).port);
    const open = (localAddress: string) =>
      new Promise<Socket | null>((resolve) => {
        const socket = connect({ port, host: "127.0.0.1", localAddress });
        socket.on("error", () => {});
        socket.once("close", () => resolve(null));
        socket.once("data", () => resolve(socket));
        socket.write("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
      });
    const held = [await open("127.0.0.2"), await open("127.0.0.2"), await open("127.0.0.2")];
    assert.ok(held.every((it) => it !== null));
    assert.equal(await open("127.0.0.2"), null);
    const other = await open("127.0.0.3");
    assert.notEqual(other, null);
    for (const it of [...held, other]) it?.destroy();
  }));

Deno.test("blobs cannot fill what our nats-server may keep: the control plane goes on", () =>
  inDir(async (dir) => {
    const flags = ["--nats-max-store=48MiB", "--disk-reserve=8MiB"];
    await using server = await daemon(dir, ["--store", "jetstream", ...flags]);
    const put = async () => {
      const body = new Uint8Array(12 * 2 ** 20);
      for (let at = 0; at < body.length; at += 65_536) {
        crypto.getRandomValues(body.subarray(at, at + 65_536));
      }
      const response = await fetch(`${server.http}/v1/blobs`, { method: "PUT", body });
      await response.body?.cancel();
      return response.status;
    };
    const found: number[] = [];
    while (found.length < 6 && found.at(-1) !== 503) found.push(await put());
    assert.deepEqual(found, [201, 201, 201, 503]);
    for (let i = 0; i < 50; i++) {
      const response = await fetch(`${server.http}/v1/invites`, { method: "POST" });
      assert.equal(response.status, 201, await response.text());
    }
  }));

Deno.test("the nats-server is told what it may keep, and by default that is what the disk has", () =>
  inDir(async (dir) => {
    const natsStore = `${dir}/js`;
    assert.equal(await maxFileStore({ natsStore, natsMaxStore: 5 }), 5);
    const free = async () => {
      const { bavail, bsize } = await statfs(dir);
      return bavail * bsize;
    };
    const before = await free();
    const empty = await maxFileStore({ natsStore, natsMaxStore: null });
    // Others use the disk meanwhile.
    assert.ok(Math.abs(empty - before) < 2 ** 30, `${empty} of ${before}`);
    await mkdir(`${natsStore}/a/b`, { recursive: true });
    await using file = await open(`${natsStore}/a/b/c`, "w");
    await file.truncate(2 ** 40);
    // What is there counts, which a sparse file shows.
    const full = await maxFileStore({ natsStore, natsMaxStore: null });
    assert.ok(full - empty > 2 ** 40 - 2 ** 30, `${full} after ${empty}`);
    assert.equal(maxBlobStore(100, { diskReserve: 30 }), 70);
    assert.equal(maxBlobStore(50, { diskReserve: 30 }), 25);
    assert.equal(maxBlobStore(Infinity, { diskReserve: 30 }), Infinity);
  }));
