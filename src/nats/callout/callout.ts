/**
 * The auth callout: a nats-server asks it whether a client may connect, and it asks the store.
 *
 * It fails closed. A request that is odd in any way, a store that does not answer or not in time, more
 * requests than can be worked on: all end in a refusal, also by saying nothing, for the server waits
 * only so long. The control plane's own users are not subject to it, see `busAccounts`.
 *
 * @module
 */

import type { Msg, NatsConnection } from "@nats-io/transport-node";
import { isStoreError, StoreError } from "../../core/errors.ts";
import { within } from "../../core/async/wait.ts";
import {
  admission,
  type AuthRequest,
  flawOf,
  Nonces,
  readAuthRequest,
  refusal,
} from "./auth_request.ts";
import { CLIENT_ACCOUNT } from "./accounts.ts";
import { formatTag, type Grant, grantOf, permissionsOf } from "./grant.ts";
import { nkeyFromSeed, type NkeyPair } from "../../keys/nkey.ts";
import { Reconciler } from "./reconcile.ts";
import { roomsOf } from "./rooms.ts";
import type {
  AuthCallout,
  AuthCalloutOptions,
  CalloutCounts,
  CalloutEvent,
  PartStatus,
  RefusalReason,
} from "../types.ts";

const SUBJECT = "$SYS.REQ.USER.AUTH";
/** Control planes on one bus share the requests. */
const QUEUE = "unibus-callout";
/** Requests that wait; a server gives up on them after two seconds, so more could not be answered. */
const WAITING = 4096;
/** Room for the rest of a message beside the answer. */
const OVERHEAD = 1024;
const MIB = 1024 * 1024;

/** A decision about one client. */
type Verdict =
  | { ok: true; endpoint: string; grant: Grant }
  | { ok: false; reason: RefusalReason; detail: string };

/**
 * Begins to judge who may connect, and to end open connections whose endpoint may no longer do what it
 * could. Any number of control planes may run one on the same bus: they share the requests, and each
 * looks after all open connections.
 *
 * A change in the store reaches an open connection as its end: the client connects again and gets what
 * it may do then, or is refused. Clients must set their inbox prefix to `_INBOX.<their nkey>`.
 *
 * An admission must fit into one message of the server (1 MiB): some 3,500 rooms with subjects of 30
 * characters. Of who is in more, the newest rooms are left out; who is in more than 30,000 is refused
 * (`too_large`).
 *
 * Rejects with `invalid` when the seed is none of an account, `unavailable` when open connections
 * cannot be listed, as when `system` is not in the system account.
 */
export async function startAuthCallout(options: AuthCalloutOptions): Promise<AuthCallout> {
  const callout = new Callout(options);
  try {
    await callout.start();
    return callout;
  } catch (error) {
    await callout.stop();
    throw error;
  }
}

class Callout implements AuthCallout {
  readonly #options: Readonly<AuthCalloutOptions>;
  readonly #issuer: NkeyPair;
  readonly #account: string;
  readonly #ttl: number;
  readonly #decisionTimeout: number;
  readonly #concurrency: number;
  readonly #nonces = new Nonces();
  readonly #reconciler: Reconciler | null = null;
  readonly #connection: NatsConnection;
  readonly #links: Link[];
  readonly #waiting: { message: Msg; at: number }[] = [];
  readonly #active = new Set<Promise<void>>();
  readonly #counts: CalloutCounts = {
    admitted: 0,
    refused: 0,
    wouldRefuse: 0,
    kicked: 0,
    dropped: 0,
  };
  #unsubscribe: (() => void) | null = null;
  #stopping: Promise<void> | null = null;
  #dropped = 0;

  constructor(options: AuthCalloutOptions) {
    this.#options = Object.freeze({ ...options });
    this.#issuer = nkeyFromSeed(options.issuerSeed, "issuerSeed");
    if (this.#issuer.kind !== "account") {
      throw new StoreError("invalid", "issuerSeed is not the seed of an account", {
        field: "issuerSeed",
      });
    }
    const { store, mode, sweepInterval = 30_000 } = options;
    this.#connection = options.connection as NatsConnection;
    const system = options.system as NatsConnection | undefined;
    this.#account = options.account ?? CLIENT_ACCOUNT;
    this.#ttl = options.ttl ?? 3_600_000;
    this.#decisionTimeout = options.decisionTimeout ?? 1500;
    this.#concurrency = options.concurrency ?? 64;
    if (mode === "enforce" && system === undefined) {
      throw new StoreError("invalid", "enforce needs a connection in the system account", {
        field: "system",
      });
    }
    this.#links = [new Link("the callout's connection", this.#connection, () => {})];
    // With `off` and `soft` nobody is limited, so there is nothing to keep up to date.
    if (mode !== "enforce" || system === undefined) return;
    const reconciler = new Reconciler({
      store,
      system,
      account: this.#account,
      sweepInterval,
      onEvent: (event) => this.#tell(event),
    });
    this.#reconciler = reconciler;
    // When it is back: events were missed while it was away.
    const again = () => void reconciler.sweep().catch(() => {});
    this.#links.push(new Link("the system connection", system, again));
  }

  async start(): Promise<void> {
    const connection = this.#connection;
    const subscription = connection.subscribe(SUBJECT, {
      queue: QUEUE,
      callback: (error, message) => {
        if (error === null) this.#take(message);
        else this.#tell({ kind: "trouble", detail: "Listen for clients that connect", error });
      },
    });
    this.#unsubscribe = () => subscription.unsubscribe();
    try {
      // First this, so that who connects while open connections are listed is not missed.
      await connection.flush();
      await this.#reconciler?.start();
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new StoreError("unavailable", `Start the auth callout: ${why}`, { cause });
    }
  }

  status(): PartStatus {
    if (this.#stopping !== null) return { ok: false, detail: "stopped" };
    const down = this.#links.find((it) => !it.up);
    if (down !== undefined) return { ok: false, detail: `${down.what} is down` };
    return this.#reconciler?.status() ?? { ok: true, detail: `mode ${this.#options.mode}` };
  }

  counts(): CalloutCounts {
    return { ...this.#counts };
  }

  async sweep(): Promise<void> {
    await this.#reconciler?.sweep();
  }

  stop(): Promise<void> {
    this.#stopping ??= (async () => {
      this.#unsubscribe?.();
      this.#waiting.length = 0;
      for (const it of this.#links) it.stop();
      await Promise.all([...this.#active, this.#reconciler?.stop()]);
    })();
    return this.#stopping;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #take(message: Msg): void {
    if (this.#active.size < this.#concurrency) return this.#begin(message);
    if (this.#waiting.length < WAITING) {
      this.#waiting.push({ message, at: performance.now() });
      return;
    }
    this.#counts.dropped++;
    // One event for all that are dropped at a time.
    if (this.#dropped++ > 0) return;
    setTimeout(() => {
      this.#tell({ kind: "overloaded", dropped: this.#dropped });
      this.#dropped = 0;
    }, 1000);
  }

  #begin(message: Msg): void {
    const work: Promise<void> = this.#answer(message).catch((error) => {
      this.#tell({ kind: "trouble", detail: "Answer whether a client may connect", error });
    }).finally(() => {
      this.#active.delete(work);
      const next = this.#next();
      if (next !== null) this.#begin(next);
    });
    this.#active.add(work);
  }

  /** The next that waits; those the server has given up on are left out. */
  #next(): Msg | null {
    for (let it = this.#waiting.shift(); it !== undefined; it = this.#waiting.shift()) {
      if (performance.now() - it.at < this.#decisionTimeout) return it.message;
      this.#counts.dropped++;
    }
    return null;
  }

  async #answer(message: Msg): Promise<void> {
    const now = Date.now() / 1000;
    const request = readAuthRequest(message.string(), this.#issuer.publicKey, now);
    if (request === null) {
      // There is nobody to answer: what it says of itself cannot be believed.
      this.#counts.refused++;
      const client = { endpoint: null, host: "", name: "", cid: 0, server: "" };
      const detail = "The question was not asked by one of our servers";
      return this.#tell({ kind: "refused", reason: "bad_request", detail, client });
    }
    const { mode } = this.#options;
    if (mode === "off") return this.#admitOpen(message, request, "off", null);
    let verdict = await this.#judge(request, now);
    if (mode === "soft") {
      if (!verdict.ok) {
        const { reason, detail } = verdict;
        this.#counts.wouldRefuse++;
        this.#tell({ kind: "would_refuse", reason, detail, client: request.client });
      }
      return this.#admitOpen(message, request, "soft", verdict.ok ? verdict : null);
    }
    if (verdict.ok) verdict = this.#admit(message, request, verdict);
    if (verdict.ok) return;
    const { reason, detail } = verdict;
    message.respond(refusal(request, reason, this.#issuer));
    this.#counts.refused++;
    this.#tell({ kind: "refused", reason, detail, client: request.client });
  }

  #admitOpen(
    message: Msg,
    request: AuthRequest,
    grant: "off" | "soft",
    verified: { endpoint: string; grant: Grant } | null,
  ): void {
    const endpoint = verified?.endpoint ?? null;
    const { client } = request;
    message.respond(admission(request, {
      account: this.#account,
      name: formatTag({ endpoint, grant }),
      ttl: this.#ttl,
    }, this.#issuer));
    this.#counts.admitted++;
    this.#tell({ kind: "admitted", endpoint, client, rooms: verified?.grant.rooms.size ?? 0 });
  }

  #admit(message: Msg, request: AuthRequest, verdict: Verdict & { ok: true }): Verdict {
    const { endpoint, grant } = verdict;
    const text = admission(request, {
      account: this.#account,
      name: formatTag({ endpoint, grant: grant.id }),
      ttl: this.#ttl,
      permissions: permissionsOf(request.nkey, grant),
    }, this.#issuer);
    const room = (this.#connection.info?.max_payload ?? MIB) - OVERHEAD;
    if (text.length > room) {
      const detail = `${grant.subjects.length} subjects take ${text.length} bytes, of ${room}`;
      return { ok: false, reason: "too_large", detail };
    }
    // Before the answer: its connection may be there before we go on.
    this.#reconciler?.granted(endpoint, grant);
    message.respond(text);
    this.#counts.admitted++;
    for (const roomId of grant.withheld) this.#tell({ kind: "subject_withheld", roomId, endpoint });
    const { leftOut: { length: rooms } } = grant;
    if (rooms > 0) this.#tell({ kind: "rooms_left_out", rooms, endpoint });
    this.#tell({ kind: "admitted", endpoint, client: request.client, rooms: grant.rooms.size });
    return verdict;
  }

  async #judge(request: AuthRequest, now: number): Promise<Verdict> {
    const flaw = flawOf(request, this.#nonces, now);
    if (flaw !== null) return { ok: false, ...flaw };
    const endpoint = request.client.endpoint!;
    return await within(this.#decisionTimeout, this.#lookUp(endpoint), () => {
      const detail = `The store did not answer within ${this.#decisionTimeout} ms`;
      return { ok: false, reason: "unavailable", detail };
    });
  }

  async #lookUp(endpoint: string): Promise<Verdict> {
    const { store } = this.#options;
    try {
      if (await store.isAuthorized(endpoint) !== true) {
        return { ok: false, reason: "not_authorized", detail: "No active user has this key" };
      }
      return { ok: true, endpoint, grant: grantOf(endpoint, await roomsOf(store, endpoint)) };
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error);
      const reason = isStoreError(error, "too_large") ? "too_large" : "unavailable";
      return { ok: false, reason, detail };
    }
  }

  #tell(event: CalloutEvent): void {
    if (event.kind === "kicked") this.#counts.kicked++;
    try {
      this.#options.onEvent?.(event);
    } catch { /* A listener's trouble is not ours. */ }
  }
}

/** Whether a connection is up. */
class Link {
  readonly what: string;
  readonly #connection: NatsConnection;
  readonly #status: ReturnType<NatsConnection["status"]>;
  #connected = true;

  constructor(what: string, connection: NatsConnection, onReconnect: () => void) {
    this.what = what;
    this.#connection = connection;
    this.#status = connection.status();
    void this.#follow(onReconnect);
  }

  get up(): boolean {
    return this.#connected && !this.#connection.isClosed();
  }

  async #follow(onReconnect: () => void): Promise<void> {
    for await (const { type } of this.#status) {
      if (type === "disconnect") this.#connected = false;
      if (type !== "reconnect") continue;
      this.#connected = true;
      onReconnect();
    }
  }

  stop(): void {
    (this.#status as { stop?: () => void }).stop?.();
  }
}
