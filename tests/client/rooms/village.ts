/**
 * People in rooms, on a control plane that may lie and a bus that anybody may use. Runs in Node too.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { NatsConnection } from "@nats-io/transport-node";
import {
  type Client,
  createClient,
  createIdentity,
  type Fetch,
  type Identity,
  type OpenRoom,
  openRooms,
  type RoomMessage,
  type RoomProblem,
  type Rooms,
  type RoomsOptions,
} from "../../../src/client/mod.ts";
import type { RoomsParts } from "../../../src/client/rooms/parts.ts";
import { createControlPlane } from "../../../src/http/control_plane.ts";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { openSqlite } from "../../../src/sqlite/mod.ts";
import { nodePrimitives, roomKeysOf } from "../../../src/sealing/primitives_node.ts";
import { openRoomKey } from "../../../src/sealing/sealed_key.ts";
import type { Store } from "../../../src/core/store.ts";
import { type TestServer, testServer, type TestServerOptions } from "../../helpers/nats.ts";

/** Somebody with keys and a client. */
export interface Person {
  identity: Identity;
  client: Client;
  memory: Map<string, string>;
  /** What its rooms complained of. */
  problems: RoomProblem[];
  /** Opens rooms. */
  rooms(options?: TestOptions): Promise<Rooms>;
}

/** Options of rooms, with those that only tests use. */
export type TestOptions = Partial<RoomsOptions> & Pick<RoomsParts, "hereInterval">;

/** Somebody whose rooms are closed with what owns them. */
export function personOf(
  identity: Identity,
  client: Client,
  bus: TestServer,
  owner: AsyncDisposableStack,
): Person {
  const memory = new Map<string, string>();
  const problems: RoomProblem[] = [];
  return {
    identity,
    client,
    memory,
    problems,
    async rooms(options = {}) {
      const nats = { servers: bus.url, bootstrapTimeout: 60_000 };
      const onProblem = (it: RoomProblem) => void problems.push(it);
      const it = await openRooms({ client, identity, nats, memory, onProblem, ...options });
      owner.defer(() => it.close());
      return it;
    },
  };
}

/** What a room was told, as it comes. */
export class Heard {
  readonly all: RoomMessage[] = [];
  /** With what the messages ended. */
  ended: unknown = undefined;
  readonly #iterator: AsyncIterableIterator<RoomMessage>;
  readonly done: Promise<void>;

  /** Begins to listen. */
  constructor(room: OpenRoom) {
    this.#iterator = room.messages();
    this.done = this.#listen();
  }

  async #listen(): Promise<void> {
    try {
      for await (const it of this.#iterator) this.all.push(it);
      this.ended = null;
    } catch (error) {
      this.ended = error;
    }
  }

  /** The texts. */
  get texts(): string[] {
    return this.all.map((it) => it.text());
  }

  /** Waits for a text. */
  async heard(text: string, ms = 60_000): Promise<RoomMessage> {
    const deadline = performance.now() + ms;
    for (;;) {
      const found = this.all.find((it) => it.text() === text);
      if (found !== undefined) return found;
      assert.ok(performance.now() < deadline, `Not heard: ${text}; heard: ${this.texts}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

/** Reads and opens the newest key of a room. */
export async function keyOf(
  room: OpenRoom,
  { client, identity }: Pick<Person, "client" | "identity">,
): Promise<Uint8Array> {
  const { sealedKey, epoch } = await client.getSealedKey(room.id);
  const place = { roomId: room.id, epoch };
  return await openRoomKey(nodePrimitives, roomKeysOf(identity), place, room.owner, sealedKey);
}

/** What a control plane does to an answer before it is sent. `null`: nothing. */
export type Lie = (
  request: { method: string; path: string },
  // deno-lint-ignore no-explicit-any
  answer: any,
  // deno-lint-ignore no-explicit-any
) => any;

/** A control plane in this process that may lie, and a bus that lets everybody do everything. */
export interface Village extends AsyncDisposable {
  store: Store;
  bus: TestServer;
  /** Answers requests to the control plane, and does not lie. */
  fetch: Fetch;
  /** What was asked that is no read, by method and path. */
  writes: string[];
  /** Adds somebody; what it is told can be changed on the way. */
  person(identity?: Identity): Promise<Person & { lie(lie: Lie | null): void }>;
  /** A connection of whoever runs the bus. */
  wire(): Promise<NatsConnection>;
}

/** Starts one. */
export async function village(options: TestServerOptions = {}): Promise<Village> {
  await using stack = new AsyncDisposableStack();
  const bus = stack.use(await testServer(options));
  const store = stack.use(openSqlite(":memory:"));
  const plane = createControlPlane(store);
  const writes: string[] = [];
  const owned = stack.move();
  const wire = async () => {
    const it = await connectNats({ servers: bus.url, bootstrapTimeout: 60_000 });
    owned.defer(() => it.close());
    return it;
  };
  return {
    store,
    bus,
    fetch: (request) => Promise.resolve(plane.fetch(request)),
    writes,
    wire,
    async person(identity = createIdentity()) {
      const { signPub, kexPub } = identity;
      await store.addUser({ signPub, kexPub, handle: "somebody" }).catch(() => {});
      let lie: Lie | null = null;
      const client = owned.use(createClient({
        url: "http://bus.example:8470",
        identity,
        retries: 0,
        fetch: async (request) => {
          const path = new URL(request.url).pathname;
          if (request.method !== "GET") writes.push(`${request.method} ${path}`);
          const response = await plane.fetch(request);
          if (lie === null || response.status >= 300) return response;
          const text = await response.text();
          const answer = text === "" ? null : JSON.parse(text);
          const told = lie({ method: request.method, path }, structuredClone(answer)) ?? answer;
          if (told instanceof Response) return told;
          return new Response(told && JSON.stringify(told), { status: response.status });
        },
      }));
      return { ...personOf(identity, client, bus, owned), lie: (it) => void (lie = it) };
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Waits until something is so; it tells nobody when. */
export async function until(
  holds: () => boolean | Promise<boolean>,
  what: string,
  ms = 60_000,
): Promise<void> {
  const deadline = performance.now() + ms;
  while (!await holds()) {
    assert.ok(performance.now() < deadline, `Not within ${ms} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
