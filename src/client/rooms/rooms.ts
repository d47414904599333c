/**
 * Encrypted rooms: keys from the control plane, messages over NATS.
 *
 * @module
 */

import { callQuietly } from "../../core/async/callback.ts";
import { LONGEST_MS } from "../../core/async/wait.ts";
import { StoreError } from "../../core/errors.ts";
import type { NewMember } from "../../core/model.ts";
import * as check from "../../core/validate.ts";
import { watchStatus } from "../../nats/connection/watch.ts";
import { Keyring } from "./keyring.ts";
import { membersOf } from "./membership.ts";
import { createRoom } from "./owner.ts";
import type { Bus, RoomsParts } from "./parts.ts";
import { LiveRoom, type RoomSettings } from "./room.ts";
import type { NewEncryptedRoom, OpenRoom, RoomProblem, Rooms } from "./types.ts";
import { Trust } from "./trust.ts";

/** Returns the options that are numbers, validated. */
function numbersOf(given: RoomsParts) {
  const number = (name: keyof RoomsParts, usual: number, least: number, most: number) =>
    check.integer(name, given[name] ?? usual, least, most);
  const { MAX_SAFE_INTEGER } = Number;
  return {
    oldEpochGrace: number("oldEpochGrace", 30_000, 0, MAX_SAFE_INTEGER),
    maxAge: number("maxAge", 300_000, 0, MAX_SAFE_INTEGER),
    refreshInterval: number("refreshInterval", 30_000, 1, LONGEST_MS),
    sendTimeout: number("sendTimeout", 10_000, 1, LONGEST_MS),
    hereInterval: number("hereInterval", 30_000, 1, LONGEST_MS),
    queueMessages: number("queueMessages", 4096, 1, MAX_SAFE_INTEGER),
    queueBytes: number("queueBytes", 64 * 1024 * 1024, 1, MAX_SAFE_INTEGER),
  };
}

/** Connects to the bus and returns the encrypted rooms of one peer, made of the parts given. */
export async function openRoomsWith(parts: RoomsParts): Promise<Rooms> {
  const { client, keys, primitives, signal, memory = new Map<string, string>() } = parts;
  const onProblem = (problem: RoomProblem) => callQuietly(() => parts.onProblem?.(problem));
  const numbers = numbersOf(parts);
  const closing = new AbortController();
  const trust = new Trust(memory, {
    acceptOwner: parts.acceptOwner,
    signal: closing.signal,
    verifies: primitives.verifies,
  });
  // Remembered first, so that the control plane cannot name another key for this peer.
  await trust.kexPub(keys.signPub, keys.kexPub, true);
  const bus = await parts.connect((error) => onProblem({ roomId: "", error }));
  const settings: RoomSettings = {
    client,
    keys,
    primitives,
    trust,
    connection: bus.connection,
    ...numbers,
    onProblem,
  };
  const rooms = new LiveRooms(settings, closing, bus);
  if (signal) {
    const abort = () => void rooms.close().catch(() => {});
    signal.addEventListener("abort", abort, { once: true, signal: closing.signal });
    if (signal.aborted) abort();
  }
  return rooms;
}

/** The open rooms of one peer. */
class LiveRooms implements Rooms {
  readonly #settings: RoomSettings;
  readonly #closing: AbortController;
  readonly #bus: Bus;
  readonly #open = new Map<string, Promise<LiveRoom>>();
  readonly #endWatch: () => void;
  #closed: Promise<void> | null = null;

  /**
   * @param settings What the rooms share
   * @param closing Aborted when they are closed
   * @param bus Closed with them
   */
  constructor(settings: RoomSettings, closing: AbortController, bus: Bus) {
    this.#settings = settings;
    this.#closing = closing;
    this.#bus = bus;
    const { connection } = settings;
    this.#endWatch = watchStatus(connection, (type) => {
      if (type === "reconnect") void this.#each((room) => room.resend());
    });
    void connection.closed().then((cause) => {
      if (this.#closed !== null) return;
      const error = connectionClosed(cause);
      void this.#each((room) => room.fail(error));
    });
  }

  async createRoom(input: NewEncryptedRoom): Promise<OpenRoom> {
    const { keys, trust } = this.#settings;
    return await this.#once(input.id, async () => {
      const { room, roomKey, members } = await createRoom(this.#settings, input);
      const keyring = this.#keyring(room.id);
      await trust.owner(room.id, keys.signPub);
      await keyring.put(room, 1, roomKey, members);
      return this.#start(keyring, members);
    }, { isNew: true });
  }

  async join(
    roomId: string,
    { owner, startOver = false }: { owner?: string; startOver?: boolean } = {},
  ): Promise<OpenRoom> {
    const { client, trust } = this.#settings;
    if (startOver) {
      const [id, named] = [check.roomId("roomId", roomId), check.signPub("owner", owner)];
      await this.#open.get(id)?.then((room) => room.close(), () => {});
      await trust.startOver(id, named);
    } else if (owner !== undefined) {
      await trust.owner(check.roomId("roomId", roomId), check.signPub("owner", owner));
    }
    return await this.#once(roomId, async () => {
      const keyring = this.#keyring(roomId);
      // The membership is accepted only after owner and key are verified.
      await keyring.refresh();
      await client.joinRoom(roomId);
      return this.#start(keyring, await membersOf(client, roomId));
    });
  }

  async close(): Promise<void> {
    this.#closed ??= (async () => {
      this.#closing.abort(new StoreError("closed", "The rooms are closed"));
      this.#endWatch();
      await this.#each((room) => room.close());
      await this.#bus.close();
    })();
    await this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Opens each room once, because the refusal of a subscription names only its subject. */
  async #once(
    roomId: string,
    start: () => Promise<LiveRoom>,
    { isNew = false } = {},
  ): Promise<OpenRoom> {
    if (this.#closed !== null) throw new StoreError("closed", "The rooms are closed");
    if (this.#settings.connection.isClosed()) throw connectionClosed();
    const id = check.roomId("roomId", roomId);
    let opening = this.#open.get(id);
    if (opening !== undefined && isNew) {
      throw new StoreError("room_exists", `Creating room ${id}: it is already open`);
    }
    if (opening === undefined) {
      opening = start();
      this.#open.set(id, opening);
      const forget = () => void (this.#open.get(id) === opening && this.#open.delete(id));
      opening.then((room) => room.ended.then(forget), forget);
    }
    const room = await opening;
    try {
      await room.ready({ isNew });
    } catch (error) {
      await room.close();
      throw error;
    }
    return room;
  }

  #keyring(roomId: string): Keyring {
    return new Keyring(this.#settings, roomId);
  }

  #start(keyring: Keyring, members: readonly NewMember[]): LiveRoom {
    return new LiveRoom(this.#settings, keyring, new Set(members.map((it) => it.endpoint)));
  }

  /** Works on each room, on one that is being opened when that is done: a user may have to be asked. */
  async #each(work: (room: LiveRoom) => void | Promise<void>): Promise<void> {
    await Promise.allSettled([...this.#open.values()].map(async (it) => await work(await it)));
  }
}

function connectionClosed(cause?: unknown): StoreError {
  return new StoreError("unavailable", "The connection to the bus was closed", { cause });
}
