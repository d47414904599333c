/**
 * Plans of operations that a child process will be killed in the middle of: random, and each one
 * possible where it stands, so that it has something to leave half-done.
 *
 * @module
 */

import { digest, endpointOf, type Peer, type Write } from "../../model/commands.ts";
import { Model } from "../../model/model.ts";
import { onModel } from "../../model/play.ts";

/** An operation of a plan, and the time it is done at. */
export interface Planned {
  /** The operation. An invite made earlier in the same plan is named `@` and that one's place. */
  command: Write;
  /** The clock's time. */
  at: number;
  /** Whether it writes more than 1,000 records. */
  big: boolean;
}

/** Random numbers that a seed gives again (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let it = state;
    it = Math.imul(it ^ (it >>> 15), it | 1);
    it ^= it + Math.imul(it ^ (it >>> 7), it | 61);
    return ((it ^ (it >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What a plan may hold. */
export interface PlanOptions {
  /** Number of operations. */
  length: number;
  /** Whether restoring everything is one transaction, so that it may be killed as well. */
  restores: boolean;
  /** Tokens of open invites by their id. */
  tokens: ReadonlyMap<string, string>;
}

const ROOMS = ["r", "r.1", "r.2", "raum/ä", "🚀"];
const BIG_ROOM = "big";
/** Peers of small rooms, and where those of big rooms begin. */
const PEERS = 24;
const BIG_FROM = 1000;
/** A room of the first size is made in two batches, one of the second is rekeyed in two. */
const BIG_SIZES = [420, 420, 1150];

/** Makes a plan that begins at the state of `start`, which is not changed. */
export function makePlan(random: () => number, start: Model, options: PlanOptions): Planned[] {
  const model = start.clone();
  const tokens = new Map(options.tokens);
  const plan: Planned[] = [];
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)]!;
  const peerOf = new Map(
    range(0, PEERS).concat(range(BIG_FROM, Math.max(...BIG_SIZES))).map((
      it,
    ) => [endpointOf(it), it]),
  );
  const members = (id: string): Peer[] =>
    [...model.rooms.get(id)!.members.keys()].map((it) => peerOf.get(it)!);
  const some = (count: number) =>
    range(0, PEERS).sort(() => random() - 0.5).slice(0, 1 + Math.floor(random() * count));
  const salt = () => Math.floor(random() * 1e6);

  const createRoom = (id: string, peers: Peer[]): Write => {
    const [owner, ...others] = peers;
    return {
      op: "createRoom",
      id,
      encrypted: true,
      owner: owner!,
      members: others,
      keys: peers,
      salt: salt(),
    };
  };
  const changeRoom = (id: string): Write => {
    const { room, members: endpoints } = model.rooms.get(id)!;
    const dice = random();
    if (dice < 0.35) {
      return { op: "rekeyRoom", id, epoch: room.epoch + 1, keys: members(id), salt: salt() };
    }
    if (dice < 0.6) {
      const who = pick(range(0, PEERS).filter((it) => !endpoints.has(endpointOf(it))));
      if (who !== undefined) {
        return { op: "addMember", id, who, key: { epoch: room.epoch, salt: salt() } };
      }
    }
    if (dice < 0.8) {
      const who = pick(members(id).filter((it) => endpointOf(it) !== room.owner));
      if (who !== undefined) return { op: "removeMember", id, who };
    }
    if (dice < 0.88) {
      const who = pick(members(id));
      return { op: "putSealedKey", id, who, epoch: room.epoch, salt: salt() };
    }
    return { op: "deleteRoom", id };
  };
  const changeUsers = (): Write => {
    const dice = random();
    const who = pick(range(0, PEERS));
    const admin = random() < 0.3;
    if (dice < 0.4 || tokens.size === 0) {
      return { op: "createInvite", admin, note: `of ${plan.length}`, expiresIn: 1e9 };
    }
    if (dice < 0.85) {
      return { op: "consumeInvite", token: pick([...tokens.values()]), who, handle: "claimer" };
    }
    return { op: "deleteUser", who, force: true };
  };
  const next = (): { command: Write; big: boolean } => {
    const dice = random();
    if (dice < 0.06) {
      const there = model.rooms.has(BIG_ROOM);
      const peers = range(BIG_FROM, pick(BIG_SIZES));
      return {
        command: there ? changeRoom(BIG_ROOM) : createRoom(BIG_ROOM, peers),
        big: true,
      };
    }
    if (dice < 0.08 && options.restores) {
      return { command: { op: "replaceAll", users: range(0, 3000) }, big: true };
    }
    if (dice < 0.35) return { command: changeUsers(), big: false };
    const id = pick(ROOMS);
    const there = model.rooms.has(id);
    return { command: there ? changeRoom(id) : createRoom(id, some(6)), big: false };
  };

  while (plan.length < options.length) {
    const { command, big } = next();
    model.now = start.now + plan.length + 1;
    const token = digest(`planned ${plan.length}`);
    const real = command.op === "consumeInvite"
      ? { ...command, token: fakeOf(command.token) }
      : command;
    onModel(model, real, { token });
    plan.push({ command, at: model.now, big });
    if (command.op === "createInvite") tokens.set(digest(token), `@${plan.length - 1}`);
    if (command.op === "consumeInvite") {
      for (const [id, it] of tokens) if (it === command.token) tokens.delete(id);
    }
    if (command.op === "replaceAll") tokens.clear();
  }
  return plan;
}

/** The token that stands for one that will be made in the plan. */
function fakeOf(token: string): string {
  return token.startsWith("@") ? digest(`planned ${token.slice(1)}`) : token;
}

function range(from: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => from + i);
}
