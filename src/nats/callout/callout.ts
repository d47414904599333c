/**
 * The auth callout: answers a nats-server's auth requests with the users and rooms of the store.
 *
 * It fails closed. An invalid request, a store that does not answer in time and overload all result
 * in a rejection, also when no response is sent, because the server's wait is limited. The control
 * plane's own users bypass it; see `busAccounts`.
 *
 * @module
 */

import type { Msg, NatsConnection } from "@nats-io/transport-node";
import { watchStatus } from "../connection/watch.ts";
import { isStoreError, StoreError } from "../../core/errors.ts";
import type { BusConnections } from "../../core/operations.ts";
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
import { formatTag, type Grant, grantOf, type OpenGrant, permissionsOf } from "./grant.ts";
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
/** The control planes of one bus share the requests through this queue group. */
const QUEUE = "unibus-callout";
/**
 * Maximum number of queued requests; a server times out after two seconds, so more could not be
 * answered.
 */
const WAITING = 4096;
/** Bytes of a message reserved for everything but the response. */
const OVERHEAD = 1024;
const MIB = 1024 * 1024;

/** A decision about one client. */
type Verdict =
  | { ok: true; endpoint: string; grant: Grant; ttl: number }
  | { ok: false; reason: RefusalReason; detail: string };

/**
 * Starts the auth callout: authenticates clients that connect, and closes open connections whose
 * permissions have changed. Several control planes can run one on the same bus: they share the
 * requests, and each checks all open connections.
 *
 * A change of permissions takes effect by closing the connection: the client reconnects and gets
 * its new permissions or is rejected. Clients must set their inbox prefix to `_INBOX.<their nkey>`.
 *
 * A client presents the key of its identity, or the key of a session and a certificate of it; see
 * `docs/nats.md`. An admission ends with the certificate.
 *
 * An admission must fit into one NATS message (1 MiB): about 3,500 rooms with subjects of 30
 * characters. A user in more rooms gets no permission for the newest ones; a user in more than
 * 30,000 rooms is rejected (`too_large`).
 *
 * @throws {StoreError} invalid: `issuerSeed` is not an account seed, or `enforce` is set without
 * `system`
 * @throws {StoreError} unavailable: open connections cannot be listed, for example because
 * `system` is not in the system account
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
      throw new StoreError("invalid", "enforce requires a connection in the system account", {
        field: "system",
      });
    }
    this.#links = [new Link("the callout's connection", this.#connection, () => {})];
    // With `off` and `soft` nothing is restricted, so there are no permissions to update.
    if (mode !== "enforce" || system === undefined) return;
    const reconciler = new Reconciler({
      store,
      system,
      account: this.#account,
      sweepInterval,
      onEvent: (event) => this.#tell(event),
    });
    this.#reconciler = reconciler;
    // After a reconnect: events were missed meanwhile.
    const again = () => void reconciler.sweep().catch(() => {});
    this.#links.push(new Link("the system connection", system, again));
  }

  async start(): Promise<void> {
    const connection = this.#connection;
    const subscription = connection.subscribe(SUBJECT, {
      queue: QUEUE,
      callback: (error, message) => {
        if (error === null) this.#take(message);
        else this.#tell({ kind: "trouble", detail: "Receive auth requests", error });
      },
    });
    this.#unsubscribe = () => subscription.unsubscribe();
    try {
      // First this, so that clients that connect while open connections are listed are not missed.
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

  connections(endpoint?: string): BusConnections | null {
    return this.#reconciler?.count(endpoint) ?? null;
  }

  async sweep(): Promise<void> {
    await this.#reconciler?.sweep();
  }

  stop(): Promise<void> {
    this.#stopping ??= (async () => {
      this.#unsubscribe?.();
      this.#waiting.length = 0;
      for (const link of this.#links) link.stop();
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
    // One event for all requests dropped within a second.
    if (this.#dropped++ > 0) return;
    setTimeout(() => {
      this.#tell({ kind: "overloaded", dropped: this.#dropped });
      this.#dropped = 0;
    }, 1000);
  }

  #begin(message: Msg): void {
    const work: Promise<void> = this.#answer(message).catch((error) => {
      this.#tell({ kind: "trouble", detail: "Answer an auth request", error });
    }).finally(() => {
      this.#active.delete(work);
      const next = this.#next();
      if (next !== null) this.#begin(next);
    });
    this.#active.add(work);
  }

  /** Takes the next queued request and drops those that have timed out. */
  #next(): Msg | null {
    for (let next = this.#waiting.shift(); next; next = this.#waiting.shift()) {
      if (performance.now() - next.at < this.#decisionTimeout) return next.message;
      this.#counts.dropped++;
    }
    return null;
  }

  async #answer(message: Msg): Promise<void> {
    const now = Date.now() / 1000;
    const request = readAuthRequest(message.string(), this.#issuer.publicKey, now);
    if (request === null) {
      // No response: nothing in the request can be trusted.
      this.#counts.refused++;
      const client = { endpoint: null, host: "", name: "", cid: 0, server: "" };
      const detail = "The auth request is not from one of our servers";
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
    grant: OpenGrant,
    verified: (Verdict & { ok: true }) | null,
  ): void {
    const endpoint = verified?.endpoint ?? null;
    const { client } = request;
    message.respond(admission(request, {
      account: this.#account,
      name: formatTag({ endpoint, grant }),
      ttl: verified?.ttl ?? this.#ttl,
    }, this.#issuer));
    this.#counts.admitted++;
    this.#tell({ kind: "admitted", endpoint, client, rooms: verified?.grant.rooms.size ?? 0 });
  }

  #admit(message: Msg, request: AuthRequest, verdict: Verdict & { ok: true }): Verdict {
    const { endpoint, grant, ttl } = verdict;
    const text = admission(request, {
      account: this.#account,
      name: formatTag({ endpoint, grant: grant.id }),
      ttl,
      permissions: permissionsOf(request.nkey, grant),
    }, this.#issuer);
    const room = (this.#connection.info?.max_payload ?? MIB) - OVERHEAD;
    if (text.length > room) {
      const detail =
        `${grant.subjects.length} subjects need ${text.length} bytes, the limit is ${room}`;
      return { ok: false, reason: "too_large", detail };
    }
    // Before the response: the connection may open before the next line runs.
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
    return await within(this.#decisionTimeout, this.#lookUp(request), () => {
      const detail = `The store did not answer within ${this.#decisionTimeout} ms`;
      return { ok: false, reason: "unavailable", detail };
    });
  }

  async #lookUp({ client, session }: AuthRequest): Promise<Verdict> {
    const { store, isAudience } = this.#options;
    const endpoint = client.endpoint!;
    try {
      if (await store.isAuthorized(endpoint) !== true) {
        return { ok: false, reason: "not_authorized", detail: "No active user has this key" };
      }
      // After the above, because it may ask other nodes.
      if (session && await isAudience?.(session.audience) !== true) {
        const detail = `The session certificate is for another server, ${session.audience}`;
        return { ok: false, reason: "session_audience", detail };
      }
      const grant = grantOf(endpoint, await roomsOf(store, endpoint));
      const rest = session ? session.expires - Date.now() : Infinity;
      return { ok: true, endpoint, grant, ttl: Math.min(this.#ttl, rest) };
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
    } catch { /* A throwing listener must not stop the callout. */ }
  }
}

/** Tracks whether a connection is up. */
class Link {
  readonly what: string;
  readonly #connection: NatsConnection;
  /** Ends watching the connection. */
  readonly stop: () => void;
  #connected = true;

  constructor(what: string, connection: NatsConnection, onReconnect: () => void) {
    this.what = what;
    this.#connection = connection;
    this.stop = watchStatus(connection, (type) => {
      if (type === "disconnect") this.#connected = false;
      if (type !== "reconnect") return;
      this.#connected = true;
      onReconnect();
    });
  }

  get up(): boolean {
    return this.#connected && !this.#connection.isClosed();
  }
}
