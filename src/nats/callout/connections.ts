/**
 * Tracks the clients' open connections on all servers by the servers' events, corrects the list by
 * querying the servers from time to time, and closes connections.
 *
 * @module
 */

import { errors, type Msg, type NatsConnection, type Subscription } from "@nats-io/transport-node";
import { parseTag } from "./grant.ts";

/** An open connection that an auth callout admitted. */
export interface OpenConnection {
  /** The ID of its server. */
  readonly server: string;
  /** The server's ID of the connection. */
  readonly cid: number;
  /** Its endpoint, or `null` if it was not verified. */
  readonly endpoint: string | null;
  /** Its permissions; see `Tag`. */
  readonly grant: string;
}

interface Entry extends OpenConnection {
  /** Number of consecutive queries in which the servers did not list it. */
  missed: number;
}

/** A server's data about one connection, in an event and in a list. */
interface EventBody {
  server?: { id?: string };
  client?: { id?: number; user?: string };
}
interface ListBody {
  server?: { id?: string };
  error?: { description?: string };
  data?: {
    total?: number;
    connections?: { cid?: number; authorized_user?: string }[];
  };
}

const PAGE = 1024;
const REQUEST_MS = 2000;
/** A server that is closing connections may list them late; a stale entry does no harm. */
const FORGET_AFTER = 2;

/** Most endpoints without connections whose last one is remembered. */
const CLOSED = 50_000;

/** Returns whether an error means that no server answered in time, as while they are busy. */
export function isSilence(error: unknown): boolean {
  return error instanceof errors.TimeoutError ||
    error instanceof Error && error.cause instanceof errors.TimeoutError;
}

/** The open connections of an account that an auth callout admitted. */
export class OpenConnections {
  readonly #system: NatsConnection;
  readonly #account: string;
  readonly #limit: number;
  readonly #subscriptions: Subscription[];
  readonly #entries = new Map<string, Entry>();
  /** Keys of entries by endpoint. */
  readonly #byEndpoint = new Map<string | null, Set<string>>();
  /** When the last connection of an endpoint was closed, the longest ago first. */
  readonly #closedAt = new Map<string | null, number>();

  /**
   * Subscribes to the servers' events. `onOpen` is called for each connection that opens from now
   * on; {@link refresh} finds those that are already open.
   */
  constructor(
    system: NatsConnection,
    account: string,
    onOpen: (connection: OpenConnection) => void,
    page = PAGE,
  ) {
    this.#limit = page;
    this.#system = system;
    this.#account = account;
    const listen = (what: string, then: (key: Entry) => void) =>
      system.subscribe(`$SYS.ACCOUNT.${account}.${what}`, {
        callback: (error, message) => {
          const entry = error === null ? entryOf(message) : null;
          if (entry !== null) then(entry);
        },
      });
    this.#subscriptions = [
      listen("CONNECT", (entry) => {
        this.#add(entry);
        onOpen(entry);
      }),
      listen("DISCONNECT", (it) => this.#remove(it)),
    ];
  }

  /** Number of open connections. */
  get size(): number {
    return this.#entries.size;
  }

  /** Returns the endpoints with open connections; `null` stands for unverified ones. */
  endpoints(): (string | null)[] {
    return [...this.#byEndpoint.keys()];
  }

  /** Reports whether an endpoint has open connections. */
  has(endpoint: string | null): boolean {
    return this.#byEndpoint.has(endpoint);
  }

  /** Returns when an endpoint's last connection was closed, since the start; `null` for none. */
  closedAt(endpoint: string): number | null {
    return this.#closedAt.get(endpoint) ?? null;
  }

  /** Returns all open connections. */
  all(): OpenConnection[] {
    return [...this.#entries.values()];
  }

  /** Returns an endpoint's open connections. */
  of(endpoint: string | null): OpenConnection[] {
    return [...this.#byEndpoint.get(endpoint) ?? []].map((key) => this.#entries.get(key)!);
  }

  /** Rejects if the connection is not in the system account: all lists would be empty. */
  async check(): Promise<void> {
    await this.#system.request("$SYS.REQ.SERVER.PING.IDZ", "", { timeout: REQUEST_MS }).catch(
      (cause) => {
        if (isSilence(cause)) throw new Error("No server answered", { cause });
        throw new Error("The system connection is not in the system account", { cause });
      },
    );
  }

  /**
   * Lists the connections of all servers, because events can be lost. Rejects if no server answers.
   */
  async refresh(): Promise<void> {
    const seen = new Set<string>();
    const note = (body: ListBody) => {
      for (const { cid, authorized_user } of body.data?.connections ?? []) {
        const entry = makeEntry(body.server?.id, cid, authorized_user);
        if (entry === null) continue;
        this.#add(entry);
        seen.add(connectionKey(entry));
      }
    };
    // The number of servers is unknown: the first page ends when no more answers arrive for a
    // while.
    const answers = await this.#system.requestMany(
      "$SYS.REQ.SERVER.PING.CONNZ",
      this.#page(0),
      { strategy: "stall", maxWait: REQUEST_MS },
    );
    const bodies: ListBody[] = [];
    for await (const answer of answers) bodies.push(answer.json<ListBody>());
    if (bodies.length === 0) {
      throw new Error("No server listed its connections", { cause: new errors.TimeoutError() });
    }
    for (const body of bodies) {
      if (body.error !== undefined) {
        throw new Error(`A server did not list its connections: ${body.error.description}`);
      }
      note(body);
    }
    for (const body of bodies) {
      for (let offset = this.#limit; offset < (body.data?.total ?? 0); offset += this.#limit) {
        const subject = `$SYS.REQ.SERVER.${body.server?.id}.CONNZ`;
        const page = await this.#system.request(subject, this.#page(offset), {
          timeout: REQUEST_MS,
        });
        note(page.json<ListBody>());
      }
    }
    for (const [key, entry] of this.#entries) {
      // A connection can be missed between two pages, so one miss is not enough.
      entry.missed = seen.has(key) ? 0 : entry.missed + 1;
      if (entry.missed >= FORGET_AFTER) this.#remove(entry);
    }
  }

  /**
   * Closes a connection. Returns false if it was already closed; rejects if the server does not
   * answer.
   */
  async kick({ server, cid }: OpenConnection): Promise<boolean> {
    const answer = await this.#system.request(
      `$SYS.REQ.SERVER.${server}.KICK`,
      JSON.stringify({ cid }),
      { timeout: REQUEST_MS },
    );
    this.#remove({ server, cid });
    return answer.json<ListBody>().error === undefined;
  }

  /** Unsubscribes from the servers' events. */
  stop(): void {
    for (const subscription of this.#subscriptions) subscription.unsubscribe();
  }

  #page(offset: number): string {
    return JSON.stringify({ auth: true, acc: this.#account, limit: this.#limit, offset });
  }

  #add(entry: Entry): void {
    const key = connectionKey(entry);
    if (this.#entries.has(key)) return;
    this.#entries.set(key, entry);
    const keys = this.#byEndpoint.get(entry.endpoint);
    if (keys === undefined) this.#byEndpoint.set(entry.endpoint, new Set([key]));
    else keys.add(key);
  }

  #remove(connection: Pick<OpenConnection, "server" | "cid">): void {
    const key = connectionKey(connection);
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    const keys = this.#byEndpoint.get(entry.endpoint)!;
    keys.delete(key);
    if (keys.size > 0) return;
    this.#byEndpoint.delete(entry.endpoint);
    this.#closedAt.delete(entry.endpoint);
    this.#closedAt.set(entry.endpoint, Date.now());
    if (this.#closedAt.size <= CLOSED) return;
    for (const oldest of this.#closedAt.keys()) {
      this.#closedAt.delete(oldest);
      break;
    }
  }
}

function connectionKey({ server, cid }: Pick<OpenConnection, "server" | "cid">): string {
  return `${server} ${cid}`;
}

function makeEntry(server = "", cid = 0, user = ""): Entry | null {
  const tag = parseTag(user);
  return tag === null || server === "" || cid === 0 ? null : { server, cid, ...tag, missed: 0 };
}

function entryOf(message: Msg): Entry | null {
  try {
    const { server, client } = message.json<EventBody>();
    return makeEntry(server?.id, client?.id, client?.user);
  } catch {
    return null;
  }
}
