/**
 * All that one who is signed in sees: the rooms, offers, and how the connection is.
 *
 * @module
 */

import type { NewEncryptedRoom, OwnerChange, Rooms } from "../../../client/rooms/types.ts";
import type { ListedMember } from "../../../client/types.ts";
import { pause } from "../../../core/async/wait.ts";
import type { Room, User } from "../../../core/model.ts";
import { openCard } from "../../../keys/identity_format.ts";
import { SealingError } from "../../../sealing/error.ts";
import { webPrimitives } from "../../../sealing/primitives_web.ts";
import { isShutOut } from "../../shared/api.ts";
import { Names } from "../../shared/names.ts";
import type { Keys } from "../../shared/keys.ts";
import type { Api } from "../api.ts";
import { openBus } from "../bus.ts";
import { type BrowserMemory, ownerIn } from "../memory.ts";
import { Model } from "./model.ts";
import { Talk } from "./talk.ts";
import { said } from "./words.ts";

/** How often the lists are read, and how long to wait before another connection, milliseconds. */
const REFRESH_MS = 5_000;
const AGAIN_MS = [1_000, 2_000, 5_000, 10_000, 15_000];
/** Most rooms that are open at once. */
const MOST_OPEN = 200;
/** Most people who wait that are shown at once. */
const MOST_WAITING = 20;

/** The connection to the bus. `why` says what failed last. */
export interface Link {
  readonly is: "connecting" | "up" | "lost";
  readonly why: string | null;
}

/** A new owner that the person must confirm. */
export interface Question extends OwnerChange {
  answer(accept: boolean): void;
}

/** Who is signed in. */
export interface SignedIn {
  readonly keys: Keys;
  readonly user: User;
  /** The rooms that the user was invited to and waits for. */
  readonly waitingFor: readonly string[];
  readonly api: Api;
}

/** What is on the desk. */
export class Desk extends Model {
  readonly keys: Keys;
  readonly me: User;
  readonly api: Api;
  readonly names: Names;
  /** Whether this browser remembers rooms and peers. */
  readonly remembers: boolean;
  readonly talks = new Map<string, Talk>();
  offers: readonly Room[] = [];
  /** Rooms that one was invited to and whose owners have not added one yet. */
  waitingFor: readonly string[];
  questions: readonly Question[] = [];
  link: Link = { is: "connecting", why: null };
  /** Whether the lists have been read. */
  isRead = false;
  /** Whether one is in more rooms than are shown. */
  isCut = false;
  /** Why this session is over; null: it is not. */
  over: string | null = null;
  readonly #memory: BrowserMemory["memory"];
  readonly #closing = new AbortController();
  #rooms: Rooms | null = null;
  #reading: Promise<void> | null = null;
  /** Counts what has changed the lists here. */
  #deeds = 0;

  /** Connects in the background. */
  constructor({ keys, user, waitingFor, api }: SignedIn, { memory, isKept }: BrowserMemory) {
    super();
    this.keys = keys;
    this.me = user;
    this.api = api;
    this.waitingFor = waitingFor;
    this.#memory = memory;
    this.remembers = isKept;
    this.names = new Names(api);
    this.names.learn([user]);
    void this.#stayConnected();
    void this.#keepReading();
    addEventListener("online", this.#look);
    document.addEventListener("visibilitychange", this.#look);
  }

  /** Leaves all rooms' subscriptions and the bus. The memberships stay. */
  async close(): Promise<void> {
    this.#closing.abort();
    removeEventListener("online", this.#look);
    document.removeEventListener("visibilitychange", this.#look);
    await this.#rooms?.close().catch(() => {});
  }

  /** Creates a room of one's own. */
  async create(room: NewEncryptedRoom): Promise<void> {
    const open = await this.#connected().createRoom(room);
    const talk = this.#talkOf(open.id);
    void talk.follow(open);
    this.changed();
  }

  /** Accepts an offer, once the owner and the key of the room are verified. */
  async accept({ id, owner }: Room): Promise<void> {
    const open = await this.#connected().join(id, { owner });
    void this.#talkOf(id).follow(open);
    this.#takeOffer(id);
  }

  /** Declines an offer. */
  async decline({ id }: Room): Promise<void> {
    await this.api.removeMember(id, this.me.signPub);
    this.#takeOffer(id);
  }

  #takeOffer(id: string): void {
    this.#deeds++;
    this.offers = this.offers.filter((it) => it.id !== id);
    this.changed();
  }

  /** Opens a room of the owner who signed a card as if this browser had never seen it. */
  async startOver(talk: Talk, card: string): Promise<void> {
    const { endpoint: owner } = await openCard(card, webPrimitives.verifies);
    void talk.follow(await this.#connected().join(talk.id, { owner, startOver: true }));
  }

  /** Leaves a room for good. */
  async leave(talk: Talk): Promise<void> {
    await talk.room.leave();
    this.forget(talk);
  }

  /** Deletes a room of one's own. */
  async remove(talk: Talk): Promise<void> {
    await this.api.deleteRoom(talk.id);
    this.forget(talk);
  }

  /** Takes a room off the desk. */
  forget(talk: Talk): void {
    this.#deeds++;
    this.talks.delete(talk.id);
    this.changed();
  }

  /** Reads the lists of rooms and offers, and opens what is new. */
  refresh(): Promise<void> {
    this.#reading ??= this.#read().finally(() => this.#reading = null);
    return this.#reading;
  }

  async #read(): Promise<void> {
    const deeds = this.#deeds;
    const ended = [...this.talks.values()].filter(({ state }) => state.is === "over");
    try {
      if (this.waitingFor.length > 0) ({ waitingFor: this.waitingFor } = await this.api.me());
      const [rooms, offers] = [await this.#list(true), await this.#list(false)];
      // They may be from before.
      if (deeds !== this.#deeds) return await this.#read();
      this.offers = offers;
      const listed = new Set(rooms.map(({ id }) => id));
      for (const id of listed) this.#talkOf(id);
      // Not those that ended meanwhile: the list may be from before.
      for (const talk of ended) if (listed.has(talk.id)) talk.opening();
      this.isCut = rooms.length === MOST_OPEN;
      if (!this.isCut) this.#endWithout(listed);
      this.isRead = true;
    } catch (error) {
      if (!isShutOut(error)) return;
      this.over = "Your access to this server was revoked. If that is a mistake, ask an admin to " +
        "restore it.";
    }
    this.#openAll();
    for (const talk of this.talks.values()) {
      if (talk.isShown || talk.isOwn) void talk.readMembers();
    }
    this.changed();
  }

  /** Ends the rooms that could not be opened and are not listed: they would be tried for ever. */
  #endWithout(listed: ReadonlySet<string>): void {
    for (const talk of this.talks.values()) {
      if (talk.state.is !== "failed" || listed.has(talk.id)) continue;
      talk.failed(new SealingError("removed", `The server does not list room ${talk.id}`));
    }
  }

  async #list(accepted: boolean): Promise<Room[]> {
    const found: Room[] = [];
    for await (const room of this.api.rooms({ accepted, limit: 500 })) {
      if (room.encrypted) found.push(room);
      if (found.length === MOST_OPEN) break;
    }
    return found;
  }

  #talkOf(id: string): Talk {
    let talk = this.talks.get(id);
    if (talk === undefined) {
      talk = new Talk(id, this.me.signPub, {
        membersOf: (roomId, handles) => this.#members(roomId, handles),
        waitingFor: async (roomId) => {
          const { items } = await this.api.listWaiting(roomId, { limit: MOST_WAITING });
          this.names.learn(items);
          return items;
        },
      });
      // The list shows its unread messages.
      talk.subscribe(() => this.changed());
      this.talks.set(id, talk);
    }
    return talk;
  }

  async #members(roomId: string, handles: boolean): Promise<ListedMember[]> {
    const found: ListedMember[] = [];
    for await (const member of this.api.members(roomId, { limit: 1000, handles })) {
      found.push(member);
      const { endpoint: signPub, handle } = member;
      if (handle) this.names.learn([{ signPub, handle }]);
    }
    return found;
  }

  #connected(): Rooms {
    if (this.#rooms !== null) return this.#rooms;
    throw new Error("There is no connection yet: wait a moment and try again");
  }

  /** Opens all rooms that are not open. A new owner that was refused is not asked about again. */
  #openAll(): void {
    const rooms = this.#rooms;
    if (rooms === null) return;
    for (const talk of this.talks.values()) {
      if (talk.state.is !== "open" && talk.state.is !== "over") void this.#open(rooms, talk);
    }
  }

  async #open(rooms: Rooms, talk: Talk): Promise<void> {
    if (talk.state.is !== "failed") talk.opening();
    try {
      // Joining remembers a new owner.
      const before = await ownerIn(this.#memory, talk.id);
      void talk.follow(await rooms.join(talk.id), before);
    } catch (error) {
      talk.failed(error);
    }
  }

  async #stayConnected(): Promise<void> {
    const { signal } = this.#closing;
    for (let failures = 0; !signal.aborted; failures++) {
      try {
        const { rooms, closed } = await openBus({
          keys: this.keys,
          api: this.api,
          memory: this.#memory,
          acceptOwner: (change) => this.#ask(change),
          onProblem: (problem) => this.talks.get(problem.roomId)?.problem(problem),
          onLink: (isUp) => this.#set({ is: isUp ? "up" : "lost", why: null }),
        });
        if (signal.aborted) return await rooms.close();
        failures = 0;
        this.#rooms = rooms;
        this.#set({ is: "up", why: null });
        void this.refresh();
        await closed;
        this.#set({ is: "lost", why: null });
      } catch (error) {
        this.#set({ is: failures === 0 ? "connecting" : "lost", why: said(error) });
      }
      this.#rooms = null;
      await pause(AGAIN_MS[Math.min(failures, AGAIN_MS.length - 1)]!, signal).catch(() => {});
    }
  }

  async #keepReading(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      if (document.visibilityState === "visible" || !this.isRead) await this.refresh();
      await pause(REFRESH_MS, signal).catch(() => {});
    }
  }

  readonly #look = (): void => void (document.visibilityState === "visible" && this.refresh());

  #ask(change: OwnerChange): Promise<boolean> {
    return new Promise((resolve) => {
      const question: Question = {
        ...change,
        answer: (accept) => {
          this.questions = this.questions.filter((it) => it !== question);
          this.changed();
          resolve(accept);
        },
      };
      this.questions = [...this.questions, question];
      this.changed();
    });
  }

  #set(link: Link): void {
    this.link = link;
    this.changed();
  }
}
