/**
 * A bus for tests of the auth callout: a nats-server, the control plane's keys and connections, a store
 * and a callout.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createUser, type KeyPair } from "@nats-io/nkeys";
import type { NatsConnection } from "@nats-io/transport-node";
import type { Store } from "../../../mod.ts";
import { openSqlite } from "../../../src/sqlite/mod.ts";
import {
  type AuthCallout,
  type AuthCalloutOptions,
  busAccounts,
  type BusAuth,
  type CalloutEvent,
  createNkey,
  type NatsServerOptions,
  type ServiceKeys,
  signPubOf,
  startAuthCallout,
} from "../../../src/nats/mod.ts";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { type TestServer, testServer } from "../../helpers/nats.ts";
import { RawClient } from "./raw_nats.ts";
import { hex } from "../../helpers/sqlite.ts";

/** Somebody with a key of their own. */
export interface Peer {
  readonly pair: KeyPair;
  readonly nkey: string;
  readonly signPub: string;
  readonly kexPub: string;
}

let peers = 0;

/** Makes somebody. */
export function newPeer(): Peer {
  const pair = createUser();
  const nkey = pair.getPublicKey();
  return { pair, nkey, signPub: signPubOf(nkey)!, kexPub: hex(`kex ${nkey} ${peers++}`) };
}

/** Adds somebody to the allowlist. */
export async function enrol(store: Store, peer = newPeer()): Promise<Peer> {
  await store.addUser({ signPub: peer.signPub, kexPub: peer.kexPub, handle: "peer" });
  return peer;
}

/** Makes a cleartext room, so that it needs no keys. */
export async function openRoom(
  store: Store,
  id: string,
  owner: Peer,
  members: Peer[] = [],
  subject = `room.${id}`,
): Promise<void> {
  const keysOf = ({ signPub, kexPub }: Peer) => ({ endpoint: signPub, kexPub });
  await store.createRoom({
    id,
    subject,
    encrypted: false,
    owner: keysOf(owner),
    members: members.map(keysOf),
  });
}

/** Adds a member to a room. */
export async function join(store: Store, room: string, { signPub, kexPub }: Peer): Promise<void> {
  await store.addMember(room, { endpoint: signPub, kexPub });
}

/** Opens a connection and signs its nonce; `null` when it was not let in. */
export async function enter(port: number, peer: Peer): Promise<RawClient | null> {
  const client = await RawClient.open(port);
  const { nonce } = client.info!;
  const sig = Buffer.from(peer.pair.sign(new TextEncoder().encode(nonce))).toString("base64");
  if (await client.login({ nkey: peer.nkey, sig })) return client;
  await client[Symbol.asyncDispose]();
  return null;
}

/** The same for who must get in. */
export async function admitted(port: number, peer: Peer): Promise<RawClient> {
  const client = await enter(port, peer);
  assert.ok(client !== null, "was let in");
  return client;
}

/** Waits until something is so; it tells nobody when. Gives the milliseconds it took. */
export async function eventually(
  condition: () => boolean | Promise<boolean>,
  ms = 60_000,
): Promise<number> {
  const began = performance.now();
  while (!await condition()) {
    assert.ok(performance.now() - began < ms, `not within ${ms} ms: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return performance.now() - began;
}

/** Keys as `loadServiceKeys` gives them. */
export function newServiceKeys(): ServiceKeys {
  return {
    service: createNkey("user"),
    system: createNkey("user"),
    issuer: createNkey("account"),
  };
}

/** A running bus. */
export interface Bus extends AsyncDisposable {
  readonly server: TestServer;
  readonly keys: ServiceKeys;
  readonly store: Store;
  readonly callout: AuthCallout;
  readonly events: CalloutEvent[];
  /** Connects as the control plane. */
  connect(who: "service" | "system"): Promise<NatsConnection>;
  /** Starts another callout, closed with the bus. */
  another(options?: Partial<AuthCalloutOptions>): Promise<AuthCallout>;
}

/** What a test may change. */
export interface BusOptions {
  mode?: BusAuth;
  /** Seconds that the server waits for the callout; more than usual, for a busy machine. */
  timeout?: number;
  server?: Partial<NatsServerOptions>;
  store?: (bus: { url: string; keys: ServiceKeys }) => Promise<Store>;
  callout?: Partial<AuthCalloutOptions>;
}

/** Starts a bus. */
export async function testBus(options: BusOptions = {}): Promise<Bus> {
  const { mode = "enforce", timeout = 10 } = options;
  const keys = newServiceKeys();
  await using stack = new AsyncDisposableStack();
  const server = stack.use(
    await testServer({ ...busAccounts({ mode, keys, timeout }), ...options.server } as object),
  );
  const store = stack.use(
    await options.store?.({ url: server.url, keys }) ?? openSqlite(":memory:"),
  );
  const connections = new Set<NatsConnection>();
  stack.defer(async () => {
    for (const it of connections) await it.close();
  });
  const connect = async (who: "service" | "system") => {
    const nkeySeed = keys[who].seed;
    const it = await connectNats({ servers: server.url, nkeySeed, bootstrapTimeout: 20_000 });
    connections.add(it);
    return it;
  };
  const events: CalloutEvent[] = [];
  let owner: AsyncDisposableStack = stack;
  const another = async (more: Partial<AuthCalloutOptions> = {}) =>
    owner.use(
      await startAuthCallout({
        store,
        connection: await connect("service"),
        system: await connect("system"),
        issuerSeed: keys.issuer.seed,
        mode,
        onEvent: (it) => events.push(it),
        ...more,
      }),
    );
  const callout = await another(options.callout);
  const owned = owner = stack.move();
  return {
    server,
    keys,
    store,
    callout,
    events,
    connect,
    another,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** A callout that enforces, with connections of its own. */
export interface Enforcer extends AsyncDisposable {
  readonly callout: AuthCallout;
}

/** Starts one on a server that runs. */
export async function enforce(servers: string, keys: ServiceKeys, store: Store): Promise<Enforcer> {
  await using stack = new AsyncDisposableStack();
  const connect = async (who: "service" | "system") => {
    const { seed: nkeySeed } = keys[who];
    const options = { servers, nkeySeed, bootstrapTimeout: 20_000, reconnectWait: 20 };
    const it = await connectNats(options);
    return stack.adopt(it, () => it.close());
  };
  const callout = stack.use(
    await startAuthCallout({
      store,
      connection: await connect("service"),
      system: await connect("system"),
      issuerSeed: keys.issuer.seed,
      mode: "enforce",
    }),
  );
  const owned = stack.move();
  return { callout, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
