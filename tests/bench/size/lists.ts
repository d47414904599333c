/**
 * Lists of one room and of one endpoint in a bucket of few records and in one of many.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { openJetStream } from "../../../src/jetstream/mod.ts";
import type { NewMember } from "../../../src/core/model.ts";
import type { Store } from "../../../src/core/store.ts";
import { alternate, median } from "../measure.ts";
import { type Row, whole } from "../table.ts";
import type { World } from "../world.ts";

const ROUNDS = 400;
const MEMBERS = 20;
const ROOMS = 10;

const key = () => randomBytes(32).toString("hex");
const person = (): NewMember => ({ endpoint: key(), kexPub: key() });

/** A room of 20 members, and somebody who is in 10 rooms. */
async function prepare(store: Store): Promise<{ room: string; endpoint: string }> {
  const busy = person();
  const room = "bench-0";
  for (let i = 0; i < ROOMS; i++) {
    const members = Array.from({ length: i === 0 ? MEMBERS - 1 : 2 }, person);
    await store.createRoom({
      id: `bench-${i}`,
      subject: `bench.${i}`,
      encrypted: false,
      owner: busy,
      members,
    });
  }
  return { room, endpoint: busy.endpoint };
}

/** Measures the lists. */
export async function lists(world: World): Promise<Row[]> {
  const { records, fewRecords } = world;
  const servers = world.server.url;
  await world.moved(fewRecords);
  await world.moved(records);
  await using few = await openJetStream({ servers, bucket: world.bucket(fewRecords) });
  await using many = await openJetStream({ servers, bucket: world.bucket(records) });
  const inFew = await prepare(few);
  const inMany = await prepare(many);
  const members = (store: Store, room: string) => async () => {
    const { items } = await store.listMembers(room);
    if (items.length !== MEMBERS) throw new Error(`Found ${items.length} members`);
  };
  const rooms = (store: Store, endpoint: string) => async () => {
    const { items } = await store.listRoomsForEndpoint(endpoint);
    if (items.length !== ROOMS) throw new Error(`Found ${items.length} rooms`);
  };
  const times = await alternate(ROUNDS, [
    members(few, inFew.room),
    members(many, inMany.room),
    rooms(few, inFew.endpoint),
    rooms(many, inMany.endpoint),
  ]);
  const row = (what: string, small: number, large: number): Row => ({
    what: `${what}, ${whole(records)} records in the bucket`,
    found: `${large.toFixed(2)} ms`,
    baseline: `${whole(fewRecords)} records ${small.toFixed(2)} ms`,
    ratio: large / small,
    goal: { most: 2 },
  });
  const [a, b, c, d] = times.map(median) as [number, number, number, number];
  return [row("a room's 20 members", a, b), row("an endpoint's 10 rooms", c, d)];
}
