/**
 * Every operation of the store in a bucket of many users and memberships, on a connection and a cache
 * that are fresh where it says cold. An operation that fails shows its error code instead of a time.
 *
 * @module
 */

import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import process from "node:process";
import { isStoreError } from "../../../src/core/errors.ts";
import type { Store } from "../../../src/core/store.ts";
import { openJetStream as openFollowedStore } from "../../../src/follower/mod.ts";
import { openBucket, openJetStream } from "../../../src/jetstream/mod.ts";
import { diagnose } from "../../../src/jetstream/repair/doctor.ts";
import { fill, keyOf, roomId, rooms, users } from "../../tools/many.ts";
import { flipping, loading, resident } from "./follower.ts";
import { type Row, whole } from "../table.ts";
import type { World } from "../world.ts";

const BUCKET = "SCALE";
/** Members of the large rooms. */
const LARGE = 100_000;
/** Members of every other room, and rooms of the user who is in many. */
const MEMBERS = 100;
const ROOMS = 5000;
const ADMINS = 3;

const hex = () => randomBytes(32).toString("hex");
const person = () => ({ signPub: hex(), kexPub: hex(), handle: "bench" });
const member = () => ({ endpoint: hex(), kexPub: hex() });
const seal = (endpoints: string[]) =>
  endpoints.map((endpoint) => ({ endpoint, sealedKey: new Uint8Array(randomBytes(80)) }));

type Call = (store: Store) => Promise<unknown>;

/** Times operations one after another; one that fails does not end the others. */
class Timings {
  readonly rows: Row[] = [];
  readonly #servers: string;

  constructor(servers: string) {
    this.#servers = servers;
  }

  open(): Promise<Store> {
    return openJetStream({ servers: this.#servers, bucket: BUCKET });
  }

  /** Times a call on an open store. */
  async time(what: string, call: () => Promise<unknown>): Promise<void> {
    const begun = performance.now();
    let found: string | undefined;
    try {
      await call();
    } catch (error) {
      if (!isStoreError(error)) throw error;
      found = error.code;
    }
    const ms = performance.now() - begun;
    const took = `${whole(ms)} ms`;
    this.rows.push({ what, found: found === undefined ? took : `${found} after ${took}` });
    console.error(`  ${what}: ${this.rows.at(-1)!.found}`);
  }

  /** Times a call on a store that was opened for it. */
  async cold(what: string, call: Call): Promise<void> {
    await using store = await this.open();
    await this.time(`${what}, cold`, () => call(store));
  }
}

/** Fills a bucket and times the operations. */
export async function scale({ records, server }: World): Promise<Row[]> {
  const timings = new Timings(server.url);
  const large = Math.min(LARGE, records / 10);
  await timings.time(`fill with ${whole(records)} users and memberships`, async () => {
    const { bucket, end } = await openBucket({ servers: server.url, bucket: BUCKET });
    await fill(bucket, rooms(roomsOf(records, large)), users(records, ADMINS));
    await end();
  });
  timings.rows.push(...await followed(timings, server, records));
  await coldTimes(timings, records);
  const busy = spawn(process.execPath, ["eval", "for (;;);"], { stdio: "ignore" });
  try {
    await timings.cold("busy core: listUsers", (it) => it.listUsers({ limit: 100 }));
    await timings.cold(
      "busy core: setUserRole to admin",
      (it) => it.setUserRole(keyOf(2), "admin"),
    );
    await timings.cold("busy core: revokeUser of an admin", (it) => it.revokeUser(keyOf(2)));
  } finally {
    process.kill(busy.pid!, "SIGKILL");
  }
  await using store = await timings.open();
  await userTimes(timings, store, records);
  await roomTimes(timings, store, large);
  await largeTimes(timings, store, large);
  await wholeTimes(timings, store, server.url);
  return timings.rows;
}

/** A follower of the bucket, and what it is for at this size. */
async function followed(
  timings: Timings,
  { url, directory }: World["server"],
  records: number,
): Promise<Row[]> {
  const nats = { servers: url, bucket: BUCKET };
  const follower = `${directory}/scale.db`;
  const rows = await loading(nats, follower, 2 * records);
  rows.push(...await resident(nats, follower));
  {
    await using store = await openFollowedStore({ ...nats, follower });
    await timings.time("listUsers, cold, with a follower", () => store.listUsers({ limit: 100 }));
    await timings.time("listRooms, cold, with a follower", () => store.listRooms({ limit: 100 }));
    await timings.time("search, first, with a follower", () => store.search!.users());
  }
  rows.push(...await flipping(follower));
  for (const { what, found } of rows) console.error(`  ${what}: ${found}`);
  return rows;
}

/** One large room, and rooms of a hundred; the first user is in thousands of them. */
function* roomsOf(memberships: number, large: number) {
  yield { id: roomId(0), members: Array.from({ length: large }, (_, n) => n + 10) };
  const count = (memberships - large) / MEMBERS;
  for (let n = 1; n <= count; n++) {
    const first = 10 + (n * 7919) % (memberships - 2 * MEMBERS);
    const others = Array.from({ length: MEMBERS - 1 }, (_, i) => first + i);
    yield { id: roomId(n), members: [...others, n <= ROOMS ? 0 : first + MEMBERS] };
  }
}

async function coldTimes(timings: Timings, records: number): Promise<void> {
  await timings.cold("isAuthorized", async (it) => await it.isAuthorized(keyOf(7)));
  await timings.cold("hasAdmin", async (it) => await it.hasAdmin());
  await timings.cold("revokeUser of an admin", (it) => it.revokeUser(keyOf(1)));
  await timings.cold("restoreUser of an admin", (it) => it.restoreUser(keyOf(1)));
  await timings.cold("setUserRole of an admin", (it) => it.setUserRole(keyOf(2), "user"));
  await timings.cold("deleteUser of an admin", (it) => it.deleteUser(keyOf(1)));
  await timings.cold("revokeUser of the last admin (refused)", (it) => it.revokeUser(keyOf(0)));
  await timings.cold("revokeUser of the last admin, again", (it) => it.revokeUser(keyOf(0)));
  await using store = await timings.open();
  const page = { limit: 100 };
  const after = keyOf(records / 2);
  await timings.time("listUsers, cold", () => store.listUsers(page));
  await timings.time("listUsers, a later page", () => store.listUsers({ ...page, after }));
  await timings.time(
    "listUsers, 10,000 from the middle",
    () => store.listUsers({ limit: 10_000, after }),
  );
  await timings.time("listRooms, cold", () => store.listRooms(page));
  await timings.time(
    "listRooms, a later page",
    () => store.listRooms({ ...page, after: roomId(5000) }),
  );
}

async function userTimes(timings: Timings, store: Store, records: number): Promise<void> {
  const someone = person();
  await timings.time("health", () => store.health());
  await timings.time("health, until the cache is loaded", async () => {
    const end = performance.now() + 120_000;
    while (!(await store.health()).ok && performance.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  });
  await timings.time("addUser", () => store.addUser(someone));
  await timings.time("getUser", () => store.getUser(keyOf(records - 1)));
  await timings.time("revokeUser", () => store.revokeUser(someone.signPub));
  await timings.time("restoreUser", () => store.restoreUser(someone.signPub));
  await timings.time("setUserRole", () => store.setUserRole(someone.signPub, "admin"));
  await timings.time("deleteUser", () => store.deleteUser(someone.signPub));
  const invites = await Promise.all(
    Array.from({ length: 3 }, () => store.createInvite({ createdBy: "cli" })),
  );
  const [one, two, three] = invites as [typeof invites[0], typeof invites[0], typeof invites[0]];
  await timings.time("createInvite", () => store.createInvite({ createdBy: "cli" }));
  await timings.time("getInvite", () => store.getInvite(one.invite.id));
  await timings.time("consumeInvite", () => store.consumeInvite(one.token, person()));
  await timings.time(
    "consumeInvite, registered",
    () => store.consumeInvite(two.token, { ...person(), signPub: keyOf(9) }),
  );
  await timings.time("cancelInvite", () => store.cancelInvite(three.invite.id));
  await timings.time("listInvites", () => store.listInvites());
  await timings.time("pruneInvites", () => store.pruneInvites("2100-01-01T00:00:00.000Z"));
}

async function roomTimes(timings: Timings, store: Store, large: number): Promise<void> {
  const [owner, other, late] = [member(), member(), member()];
  const id = "bench";
  const keys = seal([owner.endpoint, other.endpoint]);
  const room = { id, subject: id, owner, members: [other], sealedKeys: keys };
  const sealedKey = keys[0]!.sealedKey;
  const at = { roomId: id, endpoint: late.endpoint };
  await timings.time("createRoom", () => store.createRoom(room));
  await timings.time("getRoom", () => store.getRoom(id));
  await timings.time(
    "addMember",
    () => store.addMember(id, { ...late, accepted: false }, { epoch: 1, sealedKey }),
  );
  await timings.time("joinRoom", () => store.joinRoom(id, late.endpoint));
  await timings.time("getMember", () => store.getMember(id, late.endpoint));
  await timings.time("countMembers", () => store.countMembers(id));
  await timings.time("listMembers", () => store.listMembers(id));
  await timings.time("putSealedKey", () => store.putSealedKey({ ...at, epoch: 1, sealedKey }));
  await timings.time("getSealedKey", () => store.getSealedKey(id, late.endpoint));
  await timings.time("listSealedKeys", () => store.listSealedKeys(id));
  const sealedKeys = seal([owner, other, late].map((it) => it.endpoint));
  await timings.time("rekeyRoom", () => store.rekeyRoom(id, { epoch: 2, sealedKeys }));
  await timings.time("removeMember", () => store.removeMember(id, other.endpoint));
  await timings.time("changeRoomOwner", () => store.changeRoomOwner(id, late.endpoint));
  await timings.time("pruneSealedKeys", () => store.pruneSealedKeys(id, 2));
  await timings.time("deleteRoom", () => store.deleteRoom(id));
  const of = `rooms of a user in ${whole(ROOMS)}`;
  const list = (after: string | null) => () =>
    store.listRoomsForEndpoint(keyOf(0), { limit: 100, after });
  await timings.time(`${of}: the first page`, list(null));
  await timings.time(`${of}: a later page`, list(roomId(2500)));
  const members = (after: string | null) => () =>
    store.listMembers(roomId(0), { limit: 100, after });
  const many = `members of a room of ${whole(large)}`;
  await timings.time(`${many}: the first page`, members(null));
  await timings.time(`${many}: a later page`, members("8".repeat(64)));
  await timings.time(`${many}: counted`, () => store.countMembers(roomId(0)));
}

async function largeTimes(timings: Timings, store: Store, large: number): Promise<void> {
  const [owner, ...members] = Array.from({ length: large }, member);
  const endpoints = [owner!, ...members].map((it) => it.endpoint);
  const what = `encrypted room of ${whole(large)}`;
  const room = { id: "large", subject: "large", owner: owner!, members };
  await timings.time(
    `${what}: created`,
    () => store.createRoom({ ...room, sealedKeys: seal(endpoints) }),
  );
  await timings.time(
    `${what}: rekeyed`,
    () => store.rekeyRoom("large", { epoch: 2, sealedKeys: seal(endpoints) }),
  );
  await timings.time(`${what}: getSealedKey`, () => store.getSealedKey("large", endpoints[5]!));
  await timings.time(
    `${what}: a page of its keys`,
    () => store.listSealedKeys("large", { epoch: 2, limit: 100 }),
  );
  await timings.time(`${what}: deleted`, () => store.deleteRoom("large"));
}

async function wholeTimes(timings: Timings, store: Store, servers: string): Promise<void> {
  await timings.time("records, all", async () => {
    let count = 0;
    for await (const _ of store.records()) count++;
    console.error(`  ${whole(count)} records`);
  });
  await timings.time("doctor", () => diagnose({ servers, bucket: BUCKET }));
}
