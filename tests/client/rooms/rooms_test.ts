/** Encrypted rooms against the real server: the control plane, its nats-server, and people. */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import process from "node:process";
import { connect, nkeyAuthenticator } from "@nats-io/transport-node";
import { cardOf, isSealingError, isStoreError, SealingError } from "../../../src/client/mod.ts";
import { openRoomKey } from "../../../src/sealing/sealed_key.ts";
import { nodePrimitives, roomKeysOf } from "../../../src/sealing/primitives_node.ts";
import { openSqlite } from "../../../mod.ts";
import { town } from "./kit.ts";
import { inDir } from "../../helpers/sqlite.ts";
import { Heard, until } from "./village.ts";

Deno.test("three members talk, one is taken out and reads nothing from then on, not even with the store in hand", () =>
  inDir(async (dir) => {
    await using it = await town(dir);
    const [ada, bob, eve] = [await it.person(), await it.person(), await it.person()];
    const adaRooms = await ada.rooms();
    const adaRoom = await adaRooms.createRoom({ id: "kitchen", members: [cardOf(bob.identity)] });
    // Eve learns that she is out from the others or the bus, not by her own next check.
    const [bobRooms, eveRooms] = [
      await bob.rooms(),
      await eve.rooms({ refreshInterval: 3_600_000 }),
    ];
    const bobRoom = await bobRooms.join("kitchen", { owner: ada.identity.signPub });
    await assert.rejects(eveRooms.join("kitchen"), (error) => isStoreError(error, "not_found"));

    // By its signing key alone: the control plane is asked for the other one.
    await adaRoom.addMember(eve.identity.signPub);
    const eveRoom = await eveRooms.join("kitchen");
    const [adaHeard, bobHeard, eveHeard] = [adaRoom, bobRoom, eveRoom].map((it) => new Heard(it));

    // Somebody who carries the bytes keeps them all.
    const carried: Uint8Array[] = [];
    const wire = await connect({
      servers: it.server.nats,
      authenticator: nkeyAuthenticator(ada.identity.natsSeed()),
    });
    wire.subscribe(adaRoom.subject, { callback: (_, { data }) => void carried.push(data) });
    await wire.flush();

    await adaRoom.send("soup is ready");
    await bobRoom.send("coming");
    await eveRoom.send(new Uint8Array([0, 255]));
    assert.equal((await bobHeard!.heard("soup is ready")).sender, ada.identity.signPub);
    assert.equal((await eveHeard!.heard("coming")).sender, bob.identity.signPub);
    await adaHeard!.heard("coming");
    await until(() => adaHeard!.all.length === 2, "the bytes of the third");
    assert.deepEqual(adaHeard!.all[1]!.data, new Uint8Array([0, 255]));
    assert.deepEqual([adaRoom.epoch, bobRoom.epoch, eveRoom.epoch], [1, 1, 1]);

    await adaRoom.removeMember(eve.identity.signPub);
    assert.equal(adaRoom.epoch, 2);
    await adaRoom.send("eve is out");
    assert.equal((await bobHeard!.heard("eve is out")).epoch, 2);
    await bobRoom.send("good");
    assert.equal((await adaHeard!.heard("good")).epoch, 2);
    const why = await eveRoom.ended;
    assert.ok(isSealingError(why, "removed"), String(why));
    await eveHeard!.done;
    assert.equal(eveHeard!.ended, why);
    assert.ok(!eveHeard!.texts.includes("eve is out"));
    await assert.rejects(eveRoom.send("I am still here"), why!);
    await assert.rejects(eveRooms.join("kitchen"), (error) => isStoreError(error, "not_found"));

    // Where no one says anything she learns it when the bus refuses her subscription.
    await adaRooms.createRoom({ id: "attic", members: [cardOf(eve.identity)] });
    let ended: Error | null = null;
    void (await eveRooms.join("attic")).ended.then((error) => ended = error);
    await ada.client.removeMember("attic", eve.identity.signPub);
    await until(() => isSealingError(ended, "removed"), "the end");

    // Even handed the ciphertext, and every sealed key there is, eve reads none of it.
    await until(() => carried.length >= 5, "the ciphertexts");
    const adasKeys = (await ada.client.listSealedKeys("kitchen")).items;
    const opened: number[] = [];
    for (const { epoch, endpoint, sealedKey } of adasKeys) {
      const place = { roomId: "kitchen", epoch };
      await openRoomKey(
        nodePrimitives,
        roomKeysOf(eve.identity),
        place,
        ada.identity.signPub,
        sealedKey,
      ).then(
        () => opened.push(epoch),
        (error) => assert.ok(isSealingError(error, "tampered"), `${endpoint}: ${error}`),
      );
    }
    assert.deepEqual(opened, [1]);
    for (const bytes of carried) {
      const readable = await eveRoom.open(bytes).then(({ epoch }) => epoch, (error) => {
        assert.ok(error instanceof SealingError || isStoreError(error), String(error));
        return null;
      });
      assert.ok(readable === null || readable === 1);
    }

    // Neither the wire nor the stolen files hold what was said.
    await wire.close();
    const files = [`${dir}/a.db`, `${dir}/a.db-wal`].map((it) => {
      try {
        return readFileSync(it);
      } catch {
        return new Uint8Array();
      }
    });
    const keys = await Promise.all(
      [1, 2].map(async (epoch) => {
        const { sealedKey } = await ada.client.getSealedKey("kitchen", epoch);
        const place = { roomId: "kitchen", epoch };
        return await openRoomKey(
          nodePrimitives,
          roomKeysOf(ada.identity),
          place,
          ada.identity.signPub,
          sealedKey,
        );
      }),
    );
    const stolen = Buffer.concat([...files, ...carried]);
    assert.ok(stolen.includes(adasKeys[0]!.sealedKey), "the sealed keys are there");
    for (const secret of [...keys, "soup is ready", "coming", "eve is out", "good"]) {
      for (const form of [secret, Buffer.from(secret).toString("hex")]) {
        assert.ok(!stolen.includes(form));
      }
      assert.ok(!stolen.includes(Buffer.from(secret).toString("base64url")));
    }
    assert.deepEqual([...ada.problems, ...bob.problems].map((it) => it.error.message), []);
  }));

Deno.test("a room goes on over a nats-server that dies, and what was sent meanwhile arrives", () =>
  inDir(async (dir) => {
    await using it = await town(dir);
    const [ada, bob] = [await it.person(), await it.person()];
    const room = await (await ada.rooms()).createRoom({
      id: "kitchen",
      members: [cardOf(bob.identity)],
    });
    const heard = new Heard(await (await bob.rooms()).join("kitchen"));
    await room.send("before");
    await heard.heard("before");
    process.kill(it.server.natsPid(), "SIGKILL");
    const sending = room.send("meanwhile");
    await sending;
    // Seen by us, who may have come back before the others: their next one tells what they missed.
    await until(async () => {
      const { seq } = await room.send("after");
      return heard.all.some((it) => it.seq === seq || it.text() === "after");
    }, "the others' return");
    await heard.heard("after");
    assert.equal(new Set(heard.all.map((it) => it.seq)).size, heard.all.length, "none twice");
  }));

Deno.test("a user that is revoked is out of its rooms", () =>
  inDir(async (dir) => {
    await using it = await town(dir);
    const [ada, bob] = [await it.person(), await it.person()];
    await (await ada.rooms()).createRoom({ id: "kitchen", members: [cardOf(bob.identity)] });
    const room = await (await bob.rooms({ refreshInterval: 200 })).join("kitchen");
    {
      await using store = openSqlite(`${dir}/a.db`);
      await store.revokeUser(bob.identity.signPub, { force: true });
    }
    const why = await room.ended;
    assert.ok(isSealingError(why, "removed"), String(why));
    assert.match(why.message, /its user is not active/);
  }));
