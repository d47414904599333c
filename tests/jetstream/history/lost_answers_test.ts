/**
 * Entries and changes are the same when answers are lost and writes come late.
 *
 * @module
 */

import assert from "node:assert/strict";
import { errors, type NatsConnection } from "@nats-io/transport-node";
import { isStoreError } from "../../../src/core/errors.ts";
import { openJetStream, type Store } from "../../../mod.ts";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { testServer } from "../../helpers/nats.ts";
import { person } from "../../helpers/sqlite.ts";
import { allEntries, requireOrder, requireSameUsers } from "./kit.ts";

/**
 * A connection that loses some answers of writes, and sends some writes after they timed out; `late` gets
 * those.
 */
function lossy(nc: NatsConnection, late: Promise<unknown>[]): NatsConnection {
  const request: NatsConnection["request"] = async (subject, payload, options) => {
    const chance = /^\$(KV|UNIBUS)\./.test(subject) ? Math.random() : 1;
    if (chance < 0.15) {
      await nc.request(subject, payload, options).catch(() => {});
      throw new errors.TimeoutError();
    }
    if (chance < 0.3) {
      const pause = new Promise((resolve) => setTimeout(resolve, 100 * Math.random()));
      late.push(pause.then(() => nc.request(subject, payload, options)).catch(() => {}));
      throw new errors.TimeoutError();
    }
    return await nc.request(subject, payload, options);
  };
  return new Proxy(nc, {
    get(target, name) {
      const found = Reflect.get(target, name);
      if (name === "request") return request;
      return typeof found === "function" ? found.bind(target) : found;
    },
  });
}

/** Makes a change; returns whether it was made, `null` if that is not known. */
async function outcome(change: Promise<unknown>): Promise<boolean | null> {
  try {
    await change;
    return true;
  } catch (error) {
    if (!isStoreError(error)) throw error;
    return error.code === "unavailable" ? null : false;
  }
}

Deno.test("entries and changes are the same when answers are lost and writes come late", async () => {
  await using server = await testServer();
  const options = { bucket: "LOST", opTimeout: 30_000 };
  await using store = await openJetStream({ servers: server.url, ...options });
  const [owner, member] = [person("owner"), person("member")];
  const room = "storm";
  await store.createRoom({
    id: room,
    subject: "room.storm",
    encrypted: true,
    owner: { endpoint: owner.signPub, kexPub: owner.kexPub },
    members: [{ endpoint: member.signPub, kexPub: member.kexPub }],
    sealedKeys: [owner, member].map(({ signPub: endpoint }) => ({
      endpoint,
      sealedKey: new Uint8Array(80),
    })),
  });
  const connections: NatsConnection[] = [];
  const stores: Store[] = [];
  const late: Promise<unknown>[] = [];
  for (let i = 0; i < 3; i++) {
    const nc = await connectNats({ servers: server.url });
    connections.push(nc);
    stores.push(await openJetStream({ connection: lossy(nc, late), ...options, create: false }));
  }
  /** What each call came to, by what its entry says. */
  const outcomes = new Map<string, (boolean | null)[]>();
  const note = async (what: string, change: Promise<unknown>) => {
    const result = await outcome(change);
    outcomes.set(what, [...outcomes.get(what) ?? [], result]);
  };
  await Promise.all(stores.map(async (it, s) => {
    for (let i = 0; i < 15; i++) {
      // All add the same users and revoke them; each stores keys of its own.
      const { signPub, kexPub, handle } = person(`p${i}`);
      const sealedKey = new Uint8Array(80).fill(s * 20 + i);
      await Promise.all([
        note(`user.added ${signPub}`, it.addUser({ signPub, kexPub, handle })),
        note(
          "key.stored",
          it.putSealedKey({ roomId: room, epoch: 1, endpoint: member.signPub, sealedKey }),
        ),
      ]);
      await outcome(it.revokeUser(signPub));
    }
  }));
  for (const it of stores) await it.close();
  await Promise.all(late);
  const entries = await allEntries(store);
  requireOrder(entries);
  const count = (what: string) =>
    entries.filter(({ action, user }) =>
      what === (action === "key.stored" ? action : `${action} ${user}`)
    ).length;
  for (const [what, results] of outcomes) {
    const made = results.filter((it) => it === true).length;
    const open = results.filter((it) => it === null).length;
    const found = count(what);
    assert.ok(found >= made && found <= made + open, `${what}: ${found} entries, ${results}`);
  }
  await requireSameUsers(store, entries);
  for await (const { signPub, status } of store.users()) {
    assert.equal(count(`user.revoked ${signPub}`), status === "revoked" ? 1 : 0, signPub);
  }
  for (const nc of connections) await nc.close();
});
