/**
 * The load: workers that each live the same short story again and again, and remove what they made.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import type { NatsConnection } from "@nats-io/transport-node";
import {
  type Client,
  createClient,
  type Identity,
  identityFromSeed,
} from "../../src/client/mod.ts";
import { subjectOf } from "../../src/http/routes/subject.ts";
import { connectNats } from "../../src/nats/connection/connect.ts";
import type { Meter, Pace } from "./meter.ts";

/** What the load is made with. */
export interface LoadOptions {
  http: string;
  nats: string;
  /** An admin. */
  admin: Identity;
  meter: Meter;
  pace: Pace;
  /** Ends it. */
  signal: AbortSignal;
}

/** Names are taken from pools of this size, so that deleting something leaves one marker only. */
const POOL = 48;
/** How long something may take that nobody tells the end of, milliseconds. */
const PATIENCE_MS = 15_000;
/** The server takes 60 registrations a minute from one address. */
const REGISTRATIONS_MS = 2_500;

/** Somebody with a client. */
interface Person extends Disposable {
  readonly identity: Identity;
  readonly client: Client;
  readonly handle: string;
}

/** The same person for the same name. */
export function identityOf(name: string): Identity {
  return identityFromSeed(createHash("sha256").update(`soak ${name}`).digest());
}

/** Runs the load until the signal. */
export async function load(options: LoadOptions): Promise<void> {
  const { http, meter, signal } = options;
  const people = new Set<Person>();
  const person = (handle: string, identity = identityOf(handle)): Person => {
    const client = createClient({ url: http, identity, timeout: PATIENCE_MS, retries: 0 });
    const it = {
      handle,
      identity,
      client,
      [Symbol.dispose]() {
        people.delete(it);
        client.close();
      },
    };
    people.add(it);
    return it;
  };
  const admin = person("admin", options.admin);
  const enrol = async (name: string): Promise<Person> => {
    const it = person(name);
    await admin.client.addUser(userOf(it));
    return it;
  };
  const crew = async (name: string) =>
    await Promise.all([0, 1, 2, 3].map((i) => enrol(`${name} ${i}`)));
  const scene: Scene = { ...options, admin, person };
  const bus = await crew("bus");
  await bus[0]!.client.createRoom({ id: "bus", encrypted: false, members: bus.slice(1).map(keys) });
  await Promise.all(bus.slice(1).map(({ client }) => client.joinRoom("bus")));
  const [east, west] = await Promise.all([crew("east"), crew("west")]);
  const workers: [name: string, story: (round: number) => Promise<void>][] = [
    ["users a", (i) => userStory(scene, `a ${i % POOL}`)],
    ["users b", (i) => userStory(scene, `b ${i % POOL}`)],
    ["invites", (i) => inviteStory(scene, `guest ${i % POOL}`)],
    ["rooms east", (i) => roomStory(scene, `east.${i % POOL}`, east)],
    ["rooms west", (i) => roomStory(scene, `west%${i % POOL}`, west)],
    ["blobs", (i) => blobStory(scene, i % POOL, bus)],
    ["bus", () => busStory(scene, bus)],
    ["strangers", () => strangerStory(scene)],
    ...[0, 1, 2].map((it): [string, () => Promise<void>] => [
      `reads ${it}`,
      () => readStory(scene, bus[it]!),
    ]),
  ];
  await Promise.all(workers.map(async ([name, story]) => {
    for (let round = 0; !signal.aborted; round++) {
      // A story that breaks off is told; the next one begins anew.
      await story(round).catch((error) => meter.fail(name, error));
    }
  }));
  for (const it of people) it.client.close();
}

interface Scene extends Omit<LoadOptions, "admin"> {
  admin: Person;
  person(handle: string): Person;
}

function userOf({ identity, handle }: Person) {
  return { ...kinds(identity), handle };
}

function kinds({ signPub, kexPub }: Identity) {
  return { signPub, kexPub };
}

function keys({ identity }: Person) {
  return { endpoint: identity.signPub, kexPub: identity.kexPub };
}

function sealedFor(people: readonly Person[], epoch: number) {
  const sealedKey = new Uint8Array(80).fill(epoch);
  return people.map(({ identity }) => ({ endpoint: identity.signPub, sealedKey }));
}

async function step<T>({ pace, meter }: Scene, kind: string, work: () => Promise<T>) {
  await pace.turn();
  return await meter.call(kind, work);
}

async function no(
  { pace, meter }: Scene,
  kind: string,
  code: string | string[],
  work: () => Promise<unknown>,
) {
  await pace.turn();
  await meter.refused(kind, [code].flat(), work);
}

/** Connects as somebody who may. */
async function enter(scene: Scene, who: Person): Promise<NatsConnection> {
  for (let tries = 1;; tries++) {
    try {
      return await tryToEnter(scene, who);
    } catch (error) {
      // A nats-server refuses whom nobody has judged within two seconds, which happens on a machine
      // that does something else meanwhile. Clients come again; how often is in the report.
      if (tries === 3) throw error;
      scene.meter.note("connect, again");
    }
  }
}

/** Connects, or is refused. */
function tryToEnter({ nats }: Scene, { identity }: Person): Promise<NatsConnection> {
  const nkeySeed = new TextDecoder().decode(identity.natsSeed());
  return connectNats({ servers: nats, nkeySeed, bootstrapTimeout: PATIENCE_MS });
}

async function within<T>(what: string, work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    const error = new Error(`${what}: not within ${PATIENCE_MS} ms`);
    timer = setTimeout(() => reject(error), PATIENCE_MS);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Somebody is added, comes, is shut out, let in again, and removed. */
async function userStory(scene: Scene, name: string): Promise<void> {
  const { admin: { client: admin } } = scene;
  using it = scene.person(name);
  const { signPub } = it.identity;
  await step(scene, "addUser", () => admin.addUser(userOf(it)));
  await no(scene, "addUser again", "user_exists", () => admin.addUser(userOf(it)));
  await step(scene, "me", () => it.client.me());
  const connection = await step(scene, "connect", () => enter(scene, it));
  await step(scene, "revokeUser", () => admin.revokeUser(signPub));
  if (connection !== undefined) {
    await step(scene, "kicked", () => within("The end of a connection", connection.closed()));
    await connection.close();
  }
  await no(scene, "me, revoked", ["forbidden", "unauthenticated"], () => it.client.me());
  await no(scene, "connect, revoked", "unavailable", () => tryToEnter(scene, it));
  await step(scene, "restoreUser", () => admin.restoreUser(signPub));
  await step(scene, "me", () => it.client.me());
  await step(scene, "deleteUser", () => admin.deleteUser(signPub));
  await no(scene, "getUser, deleted", "not_found", () => admin.getUser(signPub));
}

/** An invite is claimed, or canceled. */
async function inviteStory(scene: Scene, name: string): Promise<void> {
  const { admin: { client: admin } } = scene;
  const began = performance.now();
  const made = await step(scene, "createInvite", () => admin.createInvite({ note: name }));
  if (made === undefined) return;
  const { invite: { id }, token } = made;
  using guest = scene.person(name);
  await step(scene, "register", () => guest.client.register(token, name));
  await step(scene, "getInvite", () => admin.getInvite(id));
  await step(scene, "me", () => guest.client.me());
  await no(scene, "cancelInvite, used", "invite_used", () => admin.cancelInvite(id));
  await step(scene, "deleteUser", () => admin.deleteUser(guest.identity.signPub));
  const other = await step(scene, "createInvite", () => admin.createInvite({ expiresIn: 60_000 }));
  if (other !== undefined) {
    await step(scene, "cancelInvite", () => admin.cancelInvite(other.invite.id));
    await no(
      scene,
      "register, canceled",
      "invite_canceled",
      () => guest.client.register(other.token, name),
    );
  }
  const left = 2 * REGISTRATIONS_MS - (performance.now() - began);
  await new Promise((resolve) => setTimeout(resolve, left));
}

/** A room is made, used, rekeyed, left, joined and removed. */
async function roomStory(scene: Scene, id: string, people: readonly Person[]): Promise<void> {
  const [owner, ada, bob, eve] = people as [Person, Person, Person, Person];
  const first = [owner, ada, bob];
  const made = await step(
    scene,
    "createRoom",
    () =>
      owner.client.createRoom({
        id,
        members: [keys(ada), keys(bob)],
        sealedKeys: sealedFor(first, 1),
      }),
  );
  if (made === undefined) {
    // Of a story that broke off.
    await owner.client.deleteRoom(id);
    return;
  }
  for (const it of first) await step(scene, "getSealedKey", () => it.client.getSealedKey(id));
  await talk(scene, id, ada, bob);
  await step(scene, "removeMember", () => owner.client.removeMember(id, bob.identity.signPub));
  await step(
    scene,
    "rekeyRoom",
    () => owner.client.rekeyRoom(id, { epoch: 2, sealedKeys: sealedFor([owner, ada], 2) }),
  );
  await no(
    scene,
    "getSealedKey, left",
    ["forbidden", "not_found"],
    () => bob.client.getSealedKey(id),
  );
  const [key] = sealedFor([eve], 2);
  const sealed = { epoch: 2, sealedKey: key!.sealedKey };
  await step(scene, "addMember", () => owner.client.addMember(id, keys(eve), sealed));
  await step(scene, "getSealedKey", () => eve.client.getSealedKey(id));
  await step(scene, "listMembers", () => ada.client.listMembers(id));
  await no(
    scene,
    "rekeyRoom, late",
    "conflict",
    () => owner.client.rekeyRoom(id, { epoch: 2, sealedKeys: sealedFor([owner, ada, eve], 2) }),
  );
  for (let epoch = 3; epoch < 6; epoch++) {
    const sealedKeys = sealedFor([owner, ada, eve], epoch);
    await step(scene, "rekeyRoom", () => owner.client.rekeyRoom(id, { epoch, sealedKeys }));
  }
  await step(scene, "listSealedKeys", () => owner.client.listSealedKeys(id));
  await step(scene, "listRooms", () => ada.client.listRooms());
  await step(scene, "deleteRoom", () => owner.client.deleteRoom(id));
  await no(scene, "getRoom, deleted", ["forbidden", "not_found"], () => owner.client.getRoom(id));
}

/** One says something in a room, and another hears it. */
async function talk(scene: Scene, room: string, from: Person, to: Person): Promise<void> {
  const subject = subjectOf(room);
  await step(scene, "talk", async () => {
    const listener = await enter(scene, to);
    try {
      const heard = listener.subscribe(subject, { max: 1 });
      await listener.flush();
      const speaker = await enter(scene, from);
      try {
        speaker.publish(subject, "hello");
        await speaker.flush();
        const first = (async () => {
          for await (const it of heard) return it.string();
        })();
        assert.equal(await within("A message", first), "hello");
      } finally {
        await speaker.close();
      }
    } finally {
      await listener.close();
    }
  });
}

/** Bytes are stored, once more, and read. There is no deleting blobs, so they are always the same. */
async function blobStory(scene: Scene, i: number, people: readonly Person[]): Promise<void> {
  const { client } = people[i % people.length]!;
  const bytes = new Uint8Array(1024 << (i % 10)).fill(i);
  const digest = createHash("sha256").update(bytes).digest("hex");
  const stored = await step(scene, "putBlob", () => client.putBlob(bytes));
  if (stored === undefined) return;
  const { id } = stored;
  assert.equal(id, digest);
  await step(scene, "statBlob", () => client.statBlob(id));
  await step(scene, "getBlob", async () => {
    const { body } = await client.getBlob(id);
    const found = await new Response(body as ReadableStream<Uint8Array<ArrayBuffer>>).bytes();
    assert.ok(Buffer.from(found).equals(bytes));
  });
  await step(scene, "getBlob, part", async () => {
    const { body } = await client.getBlob(id, { start: 100, end: 199 });
    const found = await new Response(body as ReadableStream<Uint8Array<ArrayBuffer>>).bytes();
    assert.equal(found.length, 100);
  });
  await no(scene, "getBlob, missing", "not_found", () => client.getBlob("0".repeat(64)));
}

/** Some come, one speaks, all go. */
async function busStory(scene: Scene, people: readonly Person[]): Promise<void> {
  const [a, b] = [...people].sort(() => Math.random() - 0.5);
  await talk(scene, "bus", a!, b!);
  await new Promise((resolve) => setTimeout(resolve, 500));
}

/** Who is nobody does not get in. */
async function strangerStory(scene: Scene): Promise<void> {
  using it = scene.person("stranger");
  await no(scene, "connect, stranger", "unavailable", () => tryToEnter(scene, it));
  await no(scene, "me, stranger", ["forbidden", "unauthenticated"], () => it.client.me());
  await new Promise((resolve) => setTimeout(resolve, 3000));
}

/** What clients ask all day. */
async function readStory(scene: Scene, { client }: Person): Promise<void> {
  const { admin } = scene;
  for (let i = 0; i < 5; i++) await step(scene, "me", () => client.me());
  await step(scene, "getRoom", () => client.getRoom("bus"));
  await step(scene, "listMembers", () => client.listMembers("bus"));
  await step(scene, "listUsers", () => admin.client.listUsers({ limit: 100 }));
  await step(scene, "listRooms", () => admin.client.listRooms({ all: true, limit: 100 }));
  await step(scene, "readiness", async () => assert.ok((await admin.client.readiness()).ok));
}
