/// <reference lib="deno.worker" />
/**
 * Rooms made of the browser's parts only, in a worker: it shares no module with the test that starts it.
 *
 * @module
 */

import { callsOf } from "../../../src/client/http/client.ts";
import { keyCallsOf } from "../../../src/client/http/keys.ts";
import { programCallsOf } from "../../../src/client/http/programs.ts";
import { openRoomsWith } from "../../../src/client/rooms/rooms.ts";
import type { OpenRoom, RoomMessage, Rooms } from "../../../src/client/rooms/types.ts";
import { isSealingError } from "../../../src/sealing/error.ts";
import { webPrimitives, webRoomKeys } from "../../../src/sealing/primitives_web.ts";
import { callerOf } from "../../../src/web/shared/api.ts";
import { connectBus } from "../../../src/web/shared/bus.ts";
import { readIdentity } from "../../../src/web/shared/identity.ts";

/** What the page is told to do. */
export type Order =
  | { open: { site: string; servers: string[]; file: string } }
  | { create: { id: string; members: string[] } }
  | { join: string }
  | { send: string }
  | { remove: string };

/** What the page tells: that an order was carried out or has failed, and what it hears. */
export type News =
  | { done: string }
  | { failed: string }
  | { heard: string; from: string }
  | { ended: string };

let rooms: Rooms;
let room: OpenRoom;

const tell = (news: News) => postMessage(news);

async function enter(opening: Promise<OpenRoom>): Promise<void> {
  room = await opening;
  const listen = async (messages: AsyncIterable<RoomMessage>) => {
    for await (const it of messages) tell({ heard: it.text(), from: it.sender });
  };
  listen(room.messages()).catch((error) =>
    tell({ ended: isSealingError(error) ? error.reason : String(error) })
  );
}

async function obey(order: Order): Promise<void> {
  if ("open" in order) {
    const { site, servers, file } = order.open;
    const { keys, secrets } = await readIdentity(file);
    secrets.signSeed.fill(0);
    secrets.kexSeed.fill(0);
    const caller = callerOf(keys, site);
    const calls = callsOf(caller, keys.kexPub);
    rooms = await openRoomsWith({
      client: { ...calls, ...programCallsOf(caller, calls), ...keyCallsOf(caller) },
      keys: webRoomKeys(keys),
      primitives: webPrimitives,
      sendTimeout: 60_000,
      async connect() {
        const connection = await connectBus({
          servers: () => Promise.resolve(servers),
          authenticator: () => {},
          inboxPrefix: "_INBOX.page",
        });
        return { connection, close: () => connection.close() };
      },
    });
  } else if ("create" in order) await enter(rooms.createRoom(order.create));
  else if ("join" in order) await enter(rooms.join(order.join));
  else if ("send" in order) await room.send(order.send);
  else await room.removeMember(order.remove);
}

self.onmessage = ({ data }: MessageEvent<Order>) => {
  const [what] = Object.keys(data);
  obey(data).then(() => tell({ done: what! }), (error) => tell({ failed: `${what}: ${error}` }));
};
