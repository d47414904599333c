/**
 * Encrypted rooms in Deno and Node.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import { nodePrimitives, roomKeysOf } from "../../sealing/primitives_node.ts";
import type { Bus } from "../rooms/parts.ts";
import { openRoomsWith } from "../rooms/rooms.ts";
import type { Rooms, RoomsOptions } from "../rooms/types.ts";
import { connectBus } from "./bus.ts";

/**
 * Connects to the bus and returns the encrypted rooms of one identity.
 *
 * @throws {StoreError} `unavailable`: the bus or the control plane does not respond, or the bus refuses
 * this identity; `invalid`: an option is not a number in its range
 *
 * @example
 * ```ts ignore
 * import { createClient, openRooms, readIdentity } from "@unibus/membership/client";
 *
 * const identity = await readIdentity("ada.json", { passphrase: "…" });
 * const client = createClient({ url: "https://bus.example:8470", identity });
 * await using rooms = await openRooms({
 *   client,
 *   identity,
 *   nats: { servers: "tls://bus.example:4250" },
 * });
 * const kitchen = await rooms.createRoom({ id: "kitchen", members: [cardOfBob] });
 * await kitchen.send("soup is ready");
 * for await (const message of kitchen.messages()) console.log(message.sender, message.text());
 * ```
 */
export async function openRooms(options: RoomsOptions): Promise<Rooms> {
  const { identity } = options;
  return await openRoomsWith({
    ...options,
    keys: roomKeysOf(identity),
    primitives: nodePrimitives,
    connect: (onProblem) => connect(options, onProblem),
  });
}

async function connect(
  { client, identity, nats, session, signal }: RoomsOptions,
  onProblem: (error: Error) => void,
): Promise<Bus> {
  if ("connection" in nats) {
    return { connection: nats.connection as NatsConnection, close: () => Promise.resolve() };
  }
  const connection = await connectBus({ client, identity, nats, session, onProblem, signal });
  return { connection, close: () => connection.close() };
}
