/**
 * Connects this page to the bus as the client library does, but over a WebSocket, and with a key of the
 * session that the identity certifies.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/nats-core";
import { openRoomsWith } from "../../client/rooms/rooms.ts";
import type { OwnerChange, RoomMemory, RoomProblem, Rooms } from "../../client/rooms/types.ts";
import { StoreError } from "../../core/errors.ts";
import { webPrimitives, webRoomKeys } from "../../sealing/primitives_web.ts";
import { connectBus } from "../shared/bus.ts";
import type { Keys } from "../shared/keys.ts";
import { openSession } from "./session.ts";
import type { Api } from "./api.ts";

/** A message that was not seen on the bus within this time is given up, milliseconds. */
const SEND_MS = 60_000;

/** What {@link openBus} takes. */
export interface BusOptions {
  keys: Keys;
  api: Api;
  memory: RoomMemory;
  /** Asks the person whether a room's new owner is the true one. */
  acceptOwner: (change: OwnerChange) => Promise<boolean>;
  onProblem: (problem: RoomProblem) => void;
  /** Called when the connection is lost, and when it is restored. */
  onLink: (isUp: boolean) => void;
}

/** A connection with the rooms on it. */
export interface Bus {
  rooms: Rooms;
  /** Resolves when the connection is closed for good. */
  closed: Promise<unknown>;
}

/**
 * Connects.
 *
 * @throws {StoreError} `unsupported`: the server has no WebSocket listener
 */
export async function openBus(options: BusOptions): Promise<Bus> {
  const { keys, api, onLink, ...rest } = options;
  const session = await openSession(keys, api);
  const { authenticator, inboxPrefix } = session;
  const closed = Promise.withResolvers<void>();
  const connect = async () => {
    const servers = () => serversOf(api);
    const connection = await connectBus({ servers, authenticator, inboxPrefix });
    void connection.closed().then(() => {
      session.close();
      closed.resolve();
    });
    void follow(connection, onLink);
    return { connection, close: () => connection.close() };
  };
  try {
    const rooms = await openRoomsWith({
      ...rest,
      client: api,
      keys: webRoomKeys(keys),
      primitives: webPrimitives,
      sendTimeout: SEND_MS,
      connect,
    });
    return { rooms, closed: closed.promise };
  } catch (error) {
    session.close();
    throw error;
  }
}

async function follow(connection: NatsConnection, onLink: BusOptions["onLink"]): Promise<void> {
  for await (const { type } of connection.status()) {
    if (type === "disconnect") onLink(false);
    if (type === "reconnect") onLink(true);
  }
}

/** The WebSockets of all nodes. */
async function serversOf(api: Pick<Api, "nodes">): Promise<string[]> {
  const { nodes } = await api.nodes();
  const urls = nodes.flatMap((it) => it.wsUrls ?? []);
  if (urls.length > 0) return urls;
  throw new StoreError("unsupported", "This server does not accept connections from browsers", {
    hint: "its admin can start it with --ws-port",
  });
}
