/**
 * Routes: one entry has the path, the permission, the request, the response and the handler. The
 * server, the documentation and the tests use the same list.
 *
 * @module
 */

import type { BlobStore } from "../../blobs/types.ts";
import type { StoreErrorCode } from "../../core/errors.ts";
import type { Store } from "../../core/store.ts";
import type { Operations } from "../operations.ts";
import type { Who } from "../rights/policy.ts";
import type { Quotas } from "./quotas.ts";
import type { Schema } from "./schema.ts";

/** What a route works with. */
export interface Call<Q = unknown, B = unknown> {
  /** The store, in the caller's name if the route may change it. */
  readonly store: Omit<Store, "close" | typeof Symbol.asyncDispose>;
  /** Where blobs are kept. */
  readonly blobs: BlobStore | null;
  /** Most bytes of a blob. */
  readonly maxBlobBytes: number;
  /** Whether rooms must be end-to-end encrypted. */
  readonly requireEncrypted: boolean;
  /** Quotas of users and rooms. */
  readonly quotas: Quotas;
  /** Runs work after all earlier work with the same `key` has ended. */
  inTurn<T>(key: string, work: () => Promise<T>): Promise<T>;
  /** Reports a failure that does not concern the caller. */
  readonly tellFailure: (what: string, error: unknown) => void;
  /** What the control plane reports to admins. */
  readonly operations: Operations;
  /** The request. */
  readonly request: Request;
  /** The caller's key: proved under `enforce`, else as claimed; null if none is named. */
  readonly endpoint: string | null;
  /** The parts of the path. */
  readonly params: Readonly<Record<string, string>>;
  /** The query, checked. */
  readonly query: Q;
  /** The body, checked. */
  readonly body: B;
  /** The SHA-256 that was signed for the body, where one was. */
  readonly digest: Uint8Array | null;
  /** Whether the client has disconnected, if known. */
  isGone(): boolean;
  /** The caller's key; `unauthenticated` if none is named. */
  caller(): string;
  /**
   * Whether a membership of `endpoint` that the caller makes counts as accepted, and the caller may know
   * what is `endpoint`'s own: if the caller is a proved admin or that user itself, and with `off`.
   */
  mayAccept(endpoint: string): Promise<boolean>;
  /**
   * Checks a permission beyond the route's `who`. A refusal is thrown under `enforce`, reported under
   * `soft`; with `off` nothing is checked.
   */
  demand(check: () => void | Promise<void>): Promise<void>;
}

/** What {@link route} takes. */
export interface RouteParts<Q, B> {
  /** Its name in the documentation. */
  readonly id: string;
  readonly summary: string;
  readonly who: Who;
  readonly query?: Schema<Q>;
  readonly body?: Schema<B>;
  /** Most bytes of its JSON body, where that is more than others need. */
  readonly maxBytes?: number;
  /** Whether the body is bytes that the route reads or sends itself. */
  readonly streams?: boolean;
  /** Whether it may wait for something to happen: its time says nothing about the server. */
  readonly waits?: boolean;
  /** The status of a success. Default 200, or 204 without an answer. */
  readonly status?: number;
  /** Other statuses it may answer, and what they mean. */
  readonly also?: Readonly<Record<number, string>>;
  readonly answer?: Schema<unknown>;
  /** Codes it may answer besides `invalid`, `unauthenticated`, `forbidden` and `unavailable`. */
  readonly errors?: readonly StoreErrorCode[];
  /** Gives the value to answer as JSON, or a response. */
  handle(call: Call<Q, B>): unknown;
}

/** A route. */
export interface Route extends RouteParts<unknown, unknown> {
  readonly method: "GET" | "PUT" | "POST" | "DELETE";
  /** The path, with `{name}` for parts that vary. */
  readonly path: string;
  readonly status: number;
}

/** Routes about one subject. */
export interface RouteGroup {
  /** Its name in links. */
  readonly id: string;
  readonly title: string;
  readonly routes: readonly Route[];
}

/** Makes a route, as `route("GET /v1/me", …)`. */
export function route<Q = Record<string, never>, B = undefined>(
  line: `${Route["method"]} /${string}`,
  parts: RouteParts<Q, B>,
): Route {
  const [method, path] = line.split(" ") as [Route["method"], string];
  const status = parts.answer === undefined && parts.streams !== true ? 204 : 200;
  return { status, ...parts as RouteParts<unknown, unknown>, method, path };
}
