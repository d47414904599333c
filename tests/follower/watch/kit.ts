/**
 * Stores with a follower each, on one server, that tell of alarms and of their ends.
 *
 * @module
 */

import { openJetStream, type StoreError } from "../../../mod.ts";
import { openFollowed } from "../../../src/follower/open.ts";
import { setAside } from "../../../src/follower/repair/accept.ts";
import { repairStream } from "../../../src/follower/repair/repair.ts";
import { testServer } from "../../helpers/nats.ts";
import { person } from "../../helpers/sqlite.ts";
import { rawBucket } from "../kit.ts";

/** A server, and stores with a follower each that tell of alarms and of their ends. */
export async function served() {
  const server = await testServer();
  const nats = { servers: server.url };
  await using store = await openJetStream(nats);
  await store.addUser({ ...person("ada"), role: "admin" });
  await store.addUser(person("bob"));
  await store.revokeUser(person("bob").signPub);
  return {
    server,
    nats,
    open: async (path: string, openShut = false) => {
      const alarmed = Promise.withResolvers<StoreError>();
      const renewed = Promise.withResolvers<void>();
      const told = { alarms: 0, renewals: 0 };
      const { store, follower } = await openFollowed({
        ...nats,
        // As on a node that has opened it while a move filled it.
        allowInProgress: true,
        follower: path,
        openShut,
        onAlarm: (alarm) => {
          told.alarms++;
          alarmed.resolve(alarm);
        },
        onRenewed: () => {
          told.renewals++;
          renewed.resolve();
        },
      });
      if (!openShut) await follower.whenExact();
      return {
        store,
        follower,
        told,
        alarmed: alarmed.promise,
        renewed: renewed.promise,
        admits: async () => [
          await store.isAuthorized(person("ada").signPub),
          await store.isAuthorized(person("bob").signPub),
        ],
        [Symbol.asyncDispose]: () => store.close(),
      };
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** Repairs as soon as those who had an alarm have let go of the file. */
export async function repaired(db: string, nats: { servers: string }): Promise<void> {
  for (;;) {
    try {
      await repairStream({ db, nats });
      return;
    } catch (error) {
      if (!/another process|in use/.test(String(error))) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** Sets a file aside as soon as the follower in trouble has let go of it. */
export async function setAsideSoon(db: string): Promise<void> {
  for (;;) {
    try {
      setAside(db);
      return;
    } catch (error) {
      if (!/another process/.test(String(error))) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** Deletes a bucket and makes an empty one. */
export async function makeAgain(servers: string): Promise<void> {
  {
    await using raw = await rawBucket(servers);
    await raw.api("DELETE");
  }
  await (await openJetStream({ servers })).close();
}
