/**
 * What the NATS side of the control plane takes and gives.
 *
 * @module
 */

import type { BusAuth } from "../core/operations.ts";
import type { Connection } from "./connection/connect.ts";
import type { Store } from "../core/store.ts";

export type { BusAuth };

/** What the callout needs of a store. */
export type CalloutStore = Pick<
  Store,
  "isAuthorized" | "getUser" | "listMembers" | "listRoomsForEndpoint" | "watchAccess"
>;

/** What {@link startAuthCallout} takes. */
export interface AuthCalloutOptions {
  /** Who may connect, and which rooms they are in. */
  store: CalloutStore;
  /** The service user's connection, in the account the server sends its requests to. */
  connection: Connection;
  /** The system user's connection, which sees and ends other connections. Needed with `enforce`. */
  system?: Connection;
  /** Seed of the account nkey the server trusts to admit clients (`SA…`). */
  issuerSeed: string;
  /** The account clients are put in. Default `APP`. */
  account?: string;
  /** `enforce` refuses; `soft` says what it would have refused; `off` does not look. */
  mode: BusAuth;
  /** How long an admission lasts, milliseconds; the server then ends the connection. Default 1 h. */
  ttl?: number;
  /** How often all open connections are compared with the store, milliseconds. Default 30,000. */
  sweepInterval?: number;
  /** How long one admission may take, milliseconds. Default 1,500: below the server's time-out. */
  decisionTimeout?: number;
  /** Requests worked on at once. Default 64. */
  concurrency?: number;
  /** Told of each decision and each trouble; must not throw. */
  onEvent?: (event: CalloutEvent) => void;
}

/** Why a client was refused, or would have been. Stable: branch on it, and count by it. */
export type RefusalReason =
  /** The request is not one that a server of ours made: malformed, wrong signature, too late. */
  | "bad_request"
  /** Not a plain client connection, such as a leaf node. */
  | "bad_kind"
  /** The client showed no user nkey, or no signature. */
  | "no_key"
  /** The signature over the server's nonce is not the key's. */
  | "bad_signature"
  /** The nonce was used before. */
  | "replay"
  /** No active user has this key. */
  | "not_authorized"
  /** The rooms of this user do not fit into one admission; see {@link MAX_GRANT_BYTES}. */
  | "too_large"
  /** The store did not answer, or not in time. */
  | "unavailable";

/** Something the callout did or met. Holds no secrets. */
export type CalloutEvent =
  /** A client may connect. `rooms` is how many it is in. */
  | { kind: "admitted"; endpoint: string | null; client: ClientInfo; rooms: number }
  /** A client was refused. */
  | { kind: "refused"; reason: RefusalReason; detail: string; client: ClientInfo }
  /** `soft`: a client got in that `enforce` refuses. */
  | { kind: "would_refuse"; reason: RefusalReason; detail: string; client: ClientInfo }
  /** A room's subject is not one of the data plane, so nobody is let onto it. */
  | { kind: "subject_withheld"; roomId: string; endpoint: string }
  /** An endpoint is in more rooms than fit: so many of the newest give it nothing. */
  | { kind: "rooms_left_out"; rooms: number; endpoint: string }
  /** An open connection was ended, because what it may do has changed. `null`: let in by `soft`. */
  | {
    kind: "kicked";
    endpoint: string | null;
    reason: "not_authorized" | "rooms_changed";
    server: string;
    cid: number;
  }
  /** More requests than can be worked on: this many were left without an answer, so refused. */
  | { kind: "overloaded"; dropped: number }
  /** Something failed that is tried again: what, and why. */
  | { kind: "trouble"; detail: string; error: unknown };

/** Who asked to connect, as the server tells it. */
export interface ClientInfo {
  /** The endpoint whose key the client showed, verified or not; `null` when it showed none. */
  endpoint: string | null;
  /** Its address. */
  host: string;
  /** The name it gives itself, cut to 64 characters, without control characters. */
  name: string;
  /** The server's number for the connection. */
  cid: number;
  /** The server's id. */
  server: string;
}

/** How a part of the bus does. */
export interface PartStatus {
  /** Whether it works. */
  ok: boolean;
  /** One line for people. */
  detail: string;
}

/** The running callout. */
export interface AuthCallout extends AsyncDisposable {
  /** Whether new clients are judged and changes reach open connections. */
  status(): PartStatus;
  /** How many decisions were made, by outcome, since the start. */
  counts(): CalloutCounts;
  /** Compares all open connections with the store now. For tests and administration. */
  sweep(): Promise<void>;
  /** Stops judging; requests under way are answered first. The connections stay the caller's. */
  stop(): Promise<void>;
}

/** Numbers of decisions. */
export interface CalloutCounts {
  /** Clients let in. */
  admitted: number;
  /** Clients refused. */
  refused: number;
  /** Clients let in by `soft` that `enforce` refuses. */
  wouldRefuse: number;
  /** Open connections ended. */
  kicked: number;
  /** Requests left without an answer for want of room. */
  dropped: number;
}
