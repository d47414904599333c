/**
 * A mixed load by seed: users, invites, rooms and authorizations, on all nodes at once.
 *
 * Objects are used for a while and then left, so that the history of each stays short. Some users
 * change all the time and are fought over; others change seldom, so that what is known of them has
 * the time to become too old.
 *
 * @module
 */

import type { Ending, Json, Recorder } from "./judge/history.ts";
import { nameOfCall } from "./judge/entries.ts";
import { hexOf } from "./ops.ts";

/** A node as its clients see it. */
export interface NodeClient {
  /** Its name, such as `n1`. */
  readonly name: string;
  /** The name with the number of its client's process, such as `n1#2`. */
  readonly id: string;
  /** Asks, in this name; never rejects. */
  call(op: string, args: Json, by?: string): Promise<Ending>;
}

/** How much load there is. */
export interface LoadOptions {
  /** Random numbers from 0 to 1. */
  random: () => number;
  /** Names nobody else uses. */
  name: string;
  /** Mean pause of a worker between two calls, milliseconds. */
  pause: number;
  /** Users that change seldom: milliseconds between two changes. */
  seldom: number;
  /** The public key that somebody has; by default one that nobody can sign with. */
  keyOf?: (name: string) => string;
  /** Who owns all rooms; by default everybody's own owner. */
  owner?: string;
  /** How much less often invites are made. */
  inviteSlowness?: number;
  /** Keys of users that are always among those that change seldom. */
  watched?: readonly string[];
  /** Whether nodes have followers, which are copied and promoted. */
  promotes?: boolean;
}

interface Slot {
  key: string;
  uses: number;
  life: number;
  /** When it may be changed next. */
  next: number;
  seldom: boolean;
}

const HOT_USERS = 4;
const SELDOM_USERS = 14;
const ROOMS = 6;
const MEMBERS = 12;

/** Runs load on nodes until it is stopped. */
export class Load {
  readonly #nodes: readonly NodeClient[];
  readonly #recorder: Recorder;
  readonly #options: LoadOptions;
  readonly #users: Slot[];
  readonly #rooms: Slot[];
  readonly #left: string[] = [];
  readonly #loose = new Set<Promise<unknown>>();
  #running = true;
  #names = 0;

  constructor(nodes: readonly NodeClient[], recorder: Recorder, options: LoadOptions) {
    this.#nodes = nodes;
    this.#recorder = recorder;
    this.#options = options;
    this.#users = Array.from({ length: HOT_USERS + SELDOM_USERS }, (_, i) => {
      const seldom = i >= HOT_USERS;
      return { key: this.#userKey(), uses: 0, life: seldom ? 14 : 60, next: 0, seldom };
    });
    for (const key of options.watched ?? []) {
      this.#users.push({ key, uses: 0, life: Infinity, next: 0, seldom: true });
    }
    this.#rooms = Array.from({ length: ROOMS }, () => {
      return { key: this.#newName("room"), uses: 0, life: 60, next: 0, seldom: false };
    });
  }

  /** Runs until {@link stop}, and ends when the last call has. */
  async run(): Promise<void> {
    const workers = this.#nodes.flatMap((node) => [
      this.#worker(node, "users1", 1, (it) => this.#changeUser(it)),
      this.#worker(node, "users2", 1, (it) => this.#changeUser(it)),
      this.#worker(
        node,
        "invites",
        4 * (this.#options.inviteSlowness ?? 1),
        (it) => this.#useInvite(it),
      ),
      this.#worker(node, "rooms", 1.5, (it) => this.#changeRoom(it)),
      this.#worker(node, "asks1", 0.4, (it) => this.#ask(it)),
      this.#worker(node, "asks2", 0.4, (it) => this.#ask(it)),
    ]);
    workers.push(this.#worker(this.#nodes[0]!, "audit", 150, () => {
      return this.#call("audit", this.#pick(this.#nodes), "audit", {});
    }));
    if (this.#options.promotes) {
      workers.push(this.#worker(this.#nodes[0]!, "promote", 20, () => {
        const op = this.#random() < 0.1 ? "promote" : "mark";
        return this.#call("promote", this.#pick(this.#nodes), op, {});
      }));
    }
    await Promise.all(workers);
    await Promise.all(this.#loose);
  }

  /** Ends it. */
  stop(): void {
    this.#running = false;
  }

  async #worker(
    node: NodeClient,
    client: string,
    slowness: number,
    step: (who: { node: NodeClient; client: string }) => Promise<Ending | void>,
  ): Promise<void> {
    const who = { node, client: `${node.name} ${client}` };
    while (this.#running) {
      const ending = await step(who);
      const failed = ending !== undefined && "error" in ending &&
        ["lost", "unreachable", "unavailable"].includes(ending.error);
      await pause(this.#random() * 2 * this.#options.pause * slowness + (failed ? 100 : 0));
    }
  }

  #call(client: string, node: NodeClient, op: string, args: Json): Promise<Ending> {
    const id = this.#recorder.begin({ client, node: node.id, op, args });
    return node.call(op, args, nameOfCall(id)).then((ending) => {
      this.#recorder.end(id, ending);
      return ending;
    });
  }

  #changeUser({ node, client }: { node: NodeClient; client: string }): Promise<Ending> {
    const now = this.#recorder.now();
    const ready = this.#users.filter((it) => it.next <= now);
    const seldom = ready.filter((it) => it.seldom);
    const slot = this.#pick(seldom.length > 0 && this.#random() < 0.4 ? seldom : ready);
    const signPub = slot.key;
    if (slot.seldom) {
      slot.next = now + this.#options.seldom * (0.5 + this.#random());
      // The first of a key that nobody has added changes nothing.
      if (slot.uses === 0) slot.next = now;
    }
    if (++slot.uses > slot.life) {
      this.#left.push(slot.key);
      if (this.#left.length > 12) this.#left.shift();
      Object.assign(slot, { key: this.#userKey(), uses: 0, next: 0 });
    }
    const dice = this.#random();
    const call = (op: string, args: Json = {}) =>
      this.#call(client, node, op, { signPub, ...args });
    if (slot.uses === 1 || dice < 0.2) {
      return call("addUser", { role: "user", handle: this.#newName("h") });
    }
    if (dice < 0.5) return call("revokeUser");
    if (dice < 0.72) return call("restoreUser");
    if (dice < 0.84) return call("deleteUser");
    return call("getUser");
  }

  #ask({ node, client }: { node: NodeClient; client: string }): Promise<Ending> {
    const signPub = this.#left.length > 0 && this.#random() < 0.15
      ? this.#pick(this.#left)
      : this.#pick(this.#users).key;
    return this.#call(client, node, "isAuthorized", { signPub });
  }

  async #useInvite({ node, client }: { node: NodeClient; client: string }): Promise<Ending> {
    const role = this.#random() < 0.1 ? "admin" : "user";
    const expiresIn = this.#random() < 0.15 ? 1 + Math.floor(this.#random() * 1500) : 600_000;
    const made = await this.#call(client, node, "createInvite", { role, expiresIn });
    if ("error" in made) return made;
    const { id, token } = made.answer;
    const shared = this.#random() < 0.3 ? this.#userKey() : null;
    const claims = 2 + Math.floor(this.#random() * 5);
    for (let i = 0; i < claims; i++) {
      const at = this.#pick(this.#nodes);
      const delay = this.#random() < 0.3 ? this.#random() * 1500 : 0;
      const known = this.#random() < 0.1 ? this.#pick(this.#users).key : null;
      const signPub = known ?? shared ?? this.#userKey();
      const handle = this.#newName("h");
      const what = this.#random();
      this.#loosely(async () => {
        await pause(delay);
        const who = `${client} claim ${i}`;
        if (what < 0.08) await this.#call(who, at, "cancelInvite", { id });
        else await this.#call(who, at, "consumeInvite", { id, token, signPub, role, handle });
        if (what > 0.7) await this.#call(who, at, "getInvite", { id });
        if (what > 0.85) await this.#call(who, at, "getUser", { signPub });
      });
    }
    return made;
  }

  #changeRoom({ node, client }: { node: NodeClient; client: string }): Promise<Ending | void> {
    const slot = this.#pick(this.#rooms);
    const id = slot.key;
    const call = (op: string, args: Json = {}) => this.#call(client, node, op, { id, ...args });
    if (++slot.uses > slot.life) {
      Object.assign(slot, { key: this.#newName("room"), uses: 0 });
      return call("deleteRoom");
    }
    const dice = this.#random();
    const member = () => hexOf(`member ${Math.floor(this.#random() * MEMBERS)} of ${id}`);
    if (slot.uses === 1 || dice < 0.1) {
      const owner = this.#options.owner ?? hexOf(`owner of ${id}`);
      const members = [owner, hexOf(`member 0 of ${id}`)];
      return call("createRoom", { subject: this.#newName("s"), members });
    }
    if (dice < 0.5) return this.#rekey({ node, client }, id);
    if (dice < 0.7) return call("addMember", { endpoint: member() });
    if (dice < 0.8) return call("removeMember", { endpoint: member() });
    if (dice < 0.86) return call("deleteRoom");
    return call("getRoom");
  }

  async #rekey(
    { node, client }: { node: NodeClient; client: string },
    id: string,
  ): Promise<Ending | void> {
    const room = await this.#call(client, node, "getRoom", { id });
    if ("error" in room) return room;
    const epoch = room.answer.epoch + 1;
    // Another one at the same time: one of them wins at most.
    if (this.#random() < 0.4) {
      const other = this.#pick(this.#nodes);
      this.#loosely(() => this.#call(`${client} other`, other, "rekeyRoom", { id, epoch }));
    }
    return await this.#call(client, node, "rekeyRoom", { id, epoch });
  }

  #loosely(work: () => Promise<unknown>): void {
    const run = work().finally(() => this.#loose.delete(run));
    this.#loose.add(run);
  }

  #newName(what: string): string {
    return `${this.#options.name}-${what}-${++this.#names}`;
  }

  #userKey(): string {
    return (this.#options.keyOf ?? hexOf)(this.#newName("user"));
  }

  #random(): number {
    return this.#options.random();
  }

  #pick<T>(items: readonly T[]): T {
    return items[Math.floor(this.#random() * items.length)]!;
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
