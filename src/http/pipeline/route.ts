/**
 * What a route is: one entry says how it is called, who may, what it takes and answers, and does it.
 * The server, the documentation and the tests all go through the same list.
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
  /** The store. */
  readonly store: Store;
  /** Where blobs are kept. */
  readonly blobs: BlobStore | null;
  /** Most bytes of a blob. */
  readonly maxBlobBytes: number;
  /** Whether rooms must be end-to-end encrypted. */
  readonly requireEncrypted: boolean;
  /** How much users and rooms may have. */
  readonly quotas: Quotas;
  /** Runs work that must not run twice at once, when all that was given before under `key` has ended. */
  inTurn<T>(key: string, work: () => Promise<T>): Promise<T>;
  /** Tells that something failed which the caller need not know of. */
  readonly tellFailure: (what: string, error: unknown) => void;
  /** What the control plane knows of itself. */
  readonly operations: Operations;
  /** The request. */
  readonly request: Request;
  /** Who asks: proved under `enforce`, else as claimed; null when nobody is named. */
  readonly endpoint: string | null;
  /** The parts of the path. */
  readonly params: Readonly<Record<string, string>>;
  /** The query, checked. */
  readonly query: Q;
  /** The body, checked. */
  readonly body: B;
  /** The SHA-256 that was signed for the body, where one was. */
  readonly digest: Uint8Array | null;
  /** Whether the client has gone, as far as can be told. */
  isGone(): boolean;
  /** Who asks; `unauthenticated` when nobody is named. */
  caller(): string;
  /**
   * Whether a membership of `endpoint` that the caller makes counts as accepted: of an admin, who is
   * proved, of the member itself, and where nobody is authenticated.
   */
  mayAccept(endpoint: string): Promise<boolean>;
  /**
   * A right beyond those of the route's `who`. Under `enforce` a refusal is thrown, under `soft` it
   * is told, under `off` nobody looks.
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

/** Makes a route, as `route("GET /v1/me", …)`. */
export function route<Q = Record<string, never>, B = undefined>(
  line: `${Route["method"]} /${string}`,
  parts: RouteParts<Q, B>,
): Route {
  const [method, path] = line.split(" ") as [Route["method"], string];
  const status = parts.answer === undefined && parts.streams !== true ? 204 : 200;
  return { status, ...parts as RouteParts<unknown, unknown>, method, path };
}
