/**
 * Types of the control plane's NATS side: auth callout options, events and status.
 *
 * @module
 */

import type { BusAuth, BusConnections } from "../core/operations.ts";
import type { Connection } from "./connection/connect.ts";
import type { Store } from "../core/store.ts";

export type { BusAuth, BusConnections };

/** The store methods that the auth callout uses. */
export type CalloutStore = Pick<
  Store,
  "isAuthorized" | "getUser" | "listMembers" | "listRoomsForEndpoint" | "watchAccess"
>;

/** Options of {@link startAuthCallout}. */
export interface AuthCalloutOptions {
  /** The store that holds the users and their rooms. */
  store: CalloutStore;
  /** The service user's connection, in the account to which the server sends callout requests. */
  connection: Connection;
  /**
   * The system user's connection, which lists and closes client connections. Required with
   * `enforce`.
   */
  system?: Connection;
  /** Seed of the account nkey that the server accepts as issuer of user JWTs (`SA…`). */
  issuerSeed: string;
  /**
   * Returns whether clients reach this control plane by an HTTP authority, such as `bus.example:8470`. The
   * certificate of a session's key names one. Default: none, so session keys are refused.
   */
  isAudience?: (authority: string) => boolean | Promise<boolean>;
  /** The account that clients are assigned to. Default `APP`. */
  account?: string;
  /**
   * `enforce` rejects unauthorized clients; `soft` admits and reports them; `off` checks nothing.
   */
  mode: BusAuth;
  /**
   * Lifetime of a user JWT in milliseconds; the server closes the connection when it expires.
   * Default 1 h.
   */
  ttl?: number;
  /**
   * Interval in milliseconds at which all open connections are compared with the store. Default
   * 30,000.
   */
  sweepInterval?: number;
  /**
   * Time limit of one decision in milliseconds. Default 1,500, which is below the server's timeout.
   */
  decisionTimeout?: number;
  /** Maximum number of requests handled concurrently. Default 64. */
  concurrency?: number;
  /** Called with each decision and each failure; must not throw. */
  onEvent?: (event: CalloutEvent) => void;
}

/** Why a client was rejected, or would have been. Stable: use it in conditions and metrics. */
export type RefusalReason =
  /** The request did not come from one of our servers: malformed, wrong signature, or expired. */
  | "bad_request"
  /** The connection is not a plain client, but for example a leaf node. */
  | "bad_kind"
  /** The client presented no user nkey, or no signature. */
  | "no_key"
  /** The signature of the server's nonce does not verify with the client's key. */
  | "bad_signature"
  /** The nonce was used before. */
  | "replay"
  /**
   * The client's token is not a session certificate for its nkey, or is not signed by the identity that it
   * names.
   */
  | "bad_session"
  /** The session certificate has expired, is from the future, or is for more than an hour. */
  | "session_time"
  /** The session certificate is for another server. */
  | "session_audience"
  /** No active user has this key. */
  | "not_authorized"
  /** The permissions for this user's rooms do not fit into one NATS message. */
  | "too_large"
  /** The store did not answer in time. */
  | "unavailable";

/** An event of the auth callout. Contains no secrets. */
export type CalloutEvent =
  /** A client was admitted. `rooms` is the number of rooms its endpoint is in. */
  | { kind: "admitted"; endpoint: string | null; client: ClientInfo; rooms: number }
  /** A client was rejected. */
  | { kind: "refused"; reason: RefusalReason; detail: string; client: ClientInfo }
  /** With `soft`: a client was admitted that `enforce` would reject. */
  | { kind: "would_refuse"; reason: RefusalReason; detail: string; client: ClientInfo }
  /** A room's subject is not a data plane subject, so no permission is granted for it. */
  | { kind: "subject_withheld"; roomId: string; endpoint: string }
  /** An endpoint is in more rooms than fit: it has no permission for the newest `rooms` of them. */
  | { kind: "rooms_left_out"; rooms: number; endpoint: string }
  /** An open connection was closed because its permissions changed. `null`: admitted by `soft`. */
  | {
    kind: "kicked";
    endpoint: string | null;
    reason: "not_authorized" | "rooms_changed";
    server: string;
    cid: number;
  }
  /** Overloaded: this many requests were dropped without an answer, so the server rejects them. */
  | { kind: "overloaded"; dropped: number }
  /** An operation failed and will be retried. */
  | { kind: "trouble"; detail: string; error: unknown };

/** The client that wants to connect, as reported by the server. */
export interface ClientInfo {
  /**
   * The endpoint of the key that the client presented, or that its session certificate names, verified or
   * not; `null` without one.
   */
  endpoint: string | null;
  /** Its address. */
  host: string;
  /** The client's name for itself: at most 64 characters, without control characters. */
  name: string;
  /** The server's ID of the connection. */
  cid: number;
  /** The server's ID. */
  server: string;
}

/** Status of a component of the bus. */
export interface PartStatus {
  /** Whether it works. */
  ok: boolean;
  /** One human-readable line. */
  detail: string;
}

/** A running auth callout. */
export interface AuthCallout extends AsyncDisposable {
  /** Reports whether requests are answered and permission changes reach open connections. */
  status(): PartStatus;
  /** Returns the number of decisions since the start, by outcome. */
  counts(): CalloutCounts;
  /**
   * Counts the open connections on all servers, or those of one endpoint, as the servers reported them
   * last; null unless the mode is `enforce`.
   */
  connections(endpoint?: string): BusConnections | null;
  /** Compares all open connections with the store now, for tests and administration. */
  sweep(): Promise<void>;
  /** Stops the callout after it has answered pending requests. Does not close the connections. */
  stop(): Promise<void>;
}

/** Number of decisions by outcome. */
export interface CalloutCounts {
  /** Clients admitted. */
  admitted: number;
  /** Clients rejected. */
  refused: number;
  /** Clients admitted by `soft` that `enforce` would reject. */
  wouldRefuse: number;
  /** Open connections closed. */
  kicked: number;
  /** Requests dropped without an answer because of overload. */
  dropped: number;
}
