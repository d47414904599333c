/**
 * Encrypted rooms: keys from the control plane, messages over NATS.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import { StoreError } from "../../core/errors.ts";
import { connectNats } from "../../nats/connection/connect.ts";
import * as check from "../../core/validate.ts";
import { Keyring } from "./keyring.ts";
import { membersOf } from "./membership.ts";
import { makeRoom } from "./owner.ts";
import { LiveRoom, type RoomSettings } from "./room.ts";
import type { OpenRoom, Rooms, RoomsOptions } from "./types.ts";
import { Trust } from "./trust.ts";

/**
 * Connects to the bus, for the encrypted rooms of one identity.
 *
 * @throws {StoreError} `unavailable` when the bus does not answer, or does not let this identity in
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
  const { client, identity, nats, signal, memory = new Map<string, string>() } = options;
  const {
    oldEpochGrace = 30_000,
    maxAge = 300_000,
    refreshInterval = 30_000,
    sendTimeout = 10_000,
    queueMessages = 4096,
    queueBytes = 64 * 1024 * 1024,
    onProblem = () => {},
  } = options;
  const ending = new AbortController();
  const trust = new Trust(memory, { acceptOwner: options.acceptOwner, signal: ending.signal });
  // What is remembered of ourselves comes from nobody else.
  await trust.kexPub(identity.signPub, identity.kexPub);
  const isOurs = !("connection" in nats);
  const connection: NatsConnection = isOurs
    ? await connectNats({
      ...nats,
      name: "unibus-client",
      signer: identity,
      onProblem: (error) => onProblem({ roomId: "", error }),
      retryRefused: true,
      ...(signal && { signal }),
    })
    : nats.connection as NatsConnection;
  const settings: RoomSettings = {
    client,
    identity,
    trust,
    connection,
    oldEpochGrace,
    maxAge,
    refreshInterval,
    sendTimeout,
    queueMessages,
    queueBytes,
    onProblem,
  };
  const open = new Map<string, Promise<LiveRoom>>();
  let closing: Promise<void> | null = null;

  /** One of each room: what refuses a subscription names no more than its subject. */
  async function once(
    roomId: string,
    begin: () => Promise<LiveRoom>,
    { isNew = false } = {},
  ): Promise<OpenRoom> {
    if (closing !== null) throw new StoreError("closed", "The rooms are closed");
    const id = check.roomId("roomId", roomId);
    let room = open.get(id);
    if (room !== undefined && isNew) {
      throw new StoreError("room_exists", `Making the room ${id}: it is open here`);
    }
    if (room === undefined) {
      room = begin();
      open.set(id, room);
      const forget = () => void (open.get(id) === room && open.delete(id));
      room.then((it) => it.ended.then(forget), forget);
    }
    const it = await room;
    try {
      await it.ready();
    } catch (error) {
      await it.close();
      throw error;
    }
    return it;
  }

  async function begin(keyring: Keyring): Promise<LiveRoom> {
    const members = await membersOf(client, keyring.roomId);
    return new LiveRoom(settings, keyring, new Set(members.map((it) => it.endpoint)));
  }

  async function close(): Promise<void> {
    closing ??= (async () => {
      signal?.removeEventListener("abort", abort);
      ending.abort(new StoreError("closed", "The rooms are closed"));
      const closed: Promise<void>[] = [];
      await each((room) => void closed.push(room.close()));
      await Promise.all(closed);
      if (isOurs) await connection.close();
    })();
    await closing;
  }

  const each = async (work: (room: LiveRoom) => void) => {
    for (const room of await Promise.allSettled(open.values())) {
      if (room.status === "fulfilled") work(room.value);
    }
  };
  void (async () => {
    for await (const { type } of connection.status()) {
      if (closing !== null) return;
      if (type === "reconnect") await each((room) => room.again());
    }
  })();
  void connection.closed().then(async (cause) => {
    if (closing !== null) return;
    const error = new StoreError("unavailable", "The connection to the bus was closed", { cause });
    await each((room) => room.fail(error));
  });
  const abort = () => void close().catch(() => {});
  signal?.addEventListener("abort", abort, { once: true });
  if (signal?.aborted) abort();

  return {
    async createRoom(input) {
      return await once(input.id, async () => {
        const { room, roomKey } = await makeRoom({ client, identity, trust }, input);
        const keyring = new Keyring(client, identity, trust, room.id);
        await trust.owner(room.id, identity.signPub);
        await keyring.put(room, 1, roomKey);
        return await begin(keyring);
      }, { isNew: true });
    },
    async join(roomId, { owner } = {}) {
      if (owner !== undefined) await trust.owner(roomId, check.signPub("owner", owner));
      return await once(roomId, async () => {
        const keyring = new Keyring(client, identity, trust, roomId);
        // Owner and key are right: only then the membership is accepted.
        await keyring.refresh();
        await client.joinRoom(roomId);
        return await begin(keyring);
      });
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}
