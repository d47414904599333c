/**
 * One room as its page sees it: what was said since the page was opened, who is in it, and how far one's
 * own messages are.
 *
 * @module
 */

import type { OpenRoom, RoomMessage, RoomProblem } from "../../../client/rooms/types.ts";
import type { ListedMember } from "../../../client/types.ts";
import { isStoreError } from "../../../core/errors.ts";
import type { User } from "../../../core/model.ts";
import { isSealingError } from "../../../sealing/error.ts";
import { type Body, Lines } from "./lines.ts";
import { Model } from "./model.ts";
import { rejection, said } from "./words.ts";

const NOT_READY =
  "This member cannot become the owner yet: they have not joined the room, or lack its newest " +
  "key. Add them again with their card, and wait until they have joined";

const AGAIN = "You are a member again. Messages from the time in between are not shown.";

/** How far the opening of a room is. `over`: one is no longer a member. */
export type TalkState =
  | { is: "opening" }
  | { is: "open"; room: OpenRoom }
  | { is: "failed"; why: string; isRolledBack: boolean }
  | { is: "over"; why: string };

/** What a {@link Talk} asks of the server. */
export interface TalkApi {
  /** Returns the members, each with the status of its user, and with their names the first time. */
  membersOf(roomId: string, handles: boolean): Promise<ListedMember[]>;
  /** Returns users who were invited to the room and whom its owner has not added yet. */
  waitingFor(roomId: string): Promise<User[]>;
}

/** A room. */
export class Talk extends Model {
  readonly id: string;
  readonly lines = new Lines();
  /** What is typed and not sent: kept while another room is shown. */
  draft = "";
  /** Messages that came while the room was not shown. */
  unread = 0;
  members: readonly ListedMember[] = [];
  /** Those whom the owner may let in; empty for others. */
  waiting: readonly User[] = [];
  #state: TalkState = { is: "opening" };
  /** Whether one was no member for a time. */
  #wasOver = false;
  #isShown = false;
  #owner: string | null = null;
  /** The other owner that the server named last. */
  #named: string | null = null;
  #reading: Promise<void> | null = null;
  readonly #me: string;
  readonly #api: TalkApi;

  /** A room that is about to be opened. */
  constructor(id: string, me: string, api: TalkApi) {
    super();
    this.id = id;
    this.#me = me;
    this.#api = api;
  }

  get state(): TalkState {
    return this.#state;
  }

  /** The owner's endpoint, once it has been verified. */
  get owner(): string | null {
    return this.#owner;
  }

  /** Whether it is one's own. */
  get isOwn(): boolean {
    return this.#owner === this.#me;
  }

  /** The room, or an error that says that it is not open. */
  get room(): OpenRoom {
    if (this.#state.is === "open") return this.#state.room;
    throw new Error("The room is not open yet");
  }

  /** Whether somebody looks at it. */
  get isShown(): boolean {
    return this.#isShown;
  }

  /** Says whether somebody looks at it. */
  show(isShown: boolean): void {
    this.#isShown = isShown;
    if (isShown) this.unread = 0;
    this.changed();
  }

  /** It is being opened. */
  opening(): void {
    this.#set({ is: "opening" });
  }

  /** It could not be opened, or has ended. */
  failed(error: unknown): void {
    const why = said(error);
    if (isSealingError(error, "removed")) {
      this.#wasOver = true;
      this.#set({ is: "over", why });
    } else this.#set({ is: "failed", why, isRolledBack: isSealingError(error, "rolled_back") });
  }

  /**
   * Shows what arrives in an open room; ends with it. Does nothing for a room that it follows already: the
   * list may open it while its offer is being accepted. `before`: the owner last known, if there was one.
   */
  async follow(room: OpenRoom, before?: string): Promise<void> {
    if (this.#state.is === "open" && this.#state.room === room) return;
    const messages = room.messages();
    this.#owner ??= before ?? null;
    this.#ownerIs(room.owner);
    if (this.#wasOver) this.lines.add({ is: "note", text: AGAIN });
    this.#wasOver = false;
    this.#set({ is: "open", room });
    void this.readMembers();
    try {
      for await (const message of messages) this.#arrived(message);
    } catch (error) {
      this.failed(error);
    }
  }

  /** Sends a text; the line tells how far it is. */
  send(text: string): void {
    const id = this.lines.add({
      is: "said",
      from: this.#me,
      at: Date.now(),
      body: { text },
      progress: "sending",
    });
    this.changed();
    const sending = async () => await this.room.send(text);
    sending().then(
      () => this.lines.update(id, { progress: "sent" }),
      (error) => {
        // Sent, and not seen on the bus: it may have arrived.
        const progress = isStoreError(error, "unavailable") ? "unsure" : "failed";
        this.lines.update(id, { progress, why: said(error) });
      },
    ).finally(() => this.changed());
  }

  /** Shows that a message was rejected, or that something failed in the background. */
  problem({ error, header }: RoomProblem): void {
    // Who says that they are here, and is not shown, misses nothing.
    if (header?.kind === "here") return;
    const words = rejection(error);
    if (words !== null && header !== undefined) {
      this.lines.add({ is: "note", tone: "bad", about: header.sender, ...words });
    } else if (!isSealingError(error, "replayed")) {
      const text = said(error);
      this.lines.add({ is: "note", tone: "warn", text, kind: text });
    }
    this.changed();
  }

  /** Reads who is in the room, and shows who came and went. */
  async readMembers(): Promise<void> {
    // One under way may have read them before they changed. One at a time: answers may overtake each other.
    await this.#reading;
    this.#reading ??= this.#read().finally(() => this.#reading = null);
    await this.#reading;
  }

  async #read(): Promise<void> {
    if (this.#state.is !== "open") return;
    const { room } = this.#state;
    let members: ListedMember[];
    let waiting: readonly User[] = [];
    this.#ownerIs(room.owner);
    try {
      members = await this.#api.membersOf(this.id, this.members.length === 0);
      const named = members.find((it) => it.role === "owner")?.endpoint;
      if (named !== undefined && named !== room.owner) void this.#verifyOwner(room, named);
      // Another tab may have handed the room over.
      else if (this.isOwn) waiting = await this.#api.waitingFor(this.id);
    } catch {
      // The room itself notices a removal; anything else passes, and is told by the status line.
      return;
    }
    if (this.members.length > 0) this.#tell(members);
    this.members = members;
    this.waiting = waiting;
    this.changed();
  }

  /** Lets in someone who waits. */
  async admit({ signPub: endpoint, kexPub }: User): Promise<void> {
    await this.room.addMember({ endpoint, kexPub });
    await this.readMembers();
  }

  /** Makes another member the owner. */
  async handOver(endpoint: string): Promise<void> {
    try {
      await this.room.handOver(endpoint);
    } catch (error) {
      throw isStoreError(error, "conflict") ? new Error(NOT_READY) : error;
    }
    await this.readMembers();
  }

  /** The server names another owner: has the client verify that, once for each that it names. */
  async #verifyOwner(room: OpenRoom, named: string): Promise<void> {
    if (this.#named === named) return;
    this.#named = named;
    await room.refresh();
    this.#ownerIs(room.owner);
    this.changed();
  }

  #ownerIs(owner: string): void {
    if (this.#owner !== null && this.#owner !== owner) {
      const text = "is the owner of this room now, and decides who can read it.";
      this.lines.add({ is: "note", about: owner, text });
    }
    this.#owner = owner;
    if (this.#named === owner) this.#named = null;
  }

  #tell(members: readonly ListedMember[]): void {
    const joined = (list: readonly ListedMember[]) =>
      new Set(list.filter((it) => it.accepted).map((it) => it.endpoint));
    const [before, now] = [joined(this.members), joined(members)];
    for (const about of now) {
      if (!before.has(about)) this.lines.add({ is: "note", about, text: "has joined." });
    }
    for (const about of before) {
      if (!now.has(about)) this.lines.add({ is: "note", about, text: "is no longer a member." });
    }
  }

  #arrived(message: RoomMessage): void {
    const { sender, sentAt, missed, late } = message;
    if (missed > 0) {
      const text = missed === 1
        ? "sent a message before the one below; it has not arrived."
        : `sent ${missed} messages before the one below; they have not arrived.`;
      this.lines.add({ is: "note", tone: "warn", about: sender, text });
    }
    this.lines.add({
      is: "said",
      from: sender,
      at: sentAt.getTime(),
      body: bodyOf(message.data),
      ...(late && { late }),
    });
    if (!this.#isShown && sender !== this.#me) this.unread++;
    if (!this.members.some((it) => it.accepted && it.endpoint === sender)) void this.readMembers();
    this.changed();
  }

  #set(state: TalkState): void {
    this.#state = state;
    this.changed();
  }
}

function bodyOf(data: Uint8Array): Body {
  try {
    return { text: new TextDecoder("utf-8", { fatal: true }).decode(data) };
  } catch {
    return { bytes: data.length };
  }
}
