/**
 * What every request under `/v1` goes through: authentication, permission, reading it, the work.
 *
 * @module
 */

import { setTimeout as delay } from "node:timers/promises";
import { within } from "../../core/async/wait.ts";
import type { BusAuth } from "../../core/operations.ts";
import { StoreError } from "../../core/errors.ts";
import { parseRevision } from "../../core/history/revision.ts";
import { NODES_HEADER, REVISION_HEADER } from "../../core/status.ts";
import type { BlobStore } from "../../blobs/types.ts";
import type { Store } from "../../core/store.ts";
import { Authenticator, type Sender } from "./authenticate.ts";
import { checkDigest, checkLength, demandDigest, hasBody, jsonOf } from "./body.ts";
import { BodyBudget, type BodyShare, isLarge } from "./body_budget.ts";
import type { ControlPlaneEvent } from "../events.ts";
import { groupOf, type Limit, limitOf } from "./limits.ts";
import type { Operations } from "../operations.ts";
import type { ControlPlaneOptions } from "../options.ts";
import { demandOwnName } from "../rights/nearness.ts";
import { authorize, isActive, isAdmin } from "../rights/policy.ts";
import { type Quotas, quotasOf } from "./quotas.ts";
import { alarmed, Refusal } from "./problem.ts";
import type { Call, Route } from "./route.ts";
import { object, type Schema } from "./schema.ts";
import type { Slot } from "./shed.ts";
import { Turns } from "../../core/async/turns.ts";

/** What {@link Pipeline} needs besides the options. */
export interface Surroundings {
  store: Store;
  busAuth: BusAuth;
  operations: Operations;
  /** Does a route's work and reports what it changed. */
  record(
    route: Route,
    call: Call,
    proved: boolean,
    work: () => Promise<unknown>,
  ): Promise<unknown>;
  tell(event: ControlPlaneEvent): void;
  /** Counts a refusal. */
  count(reason: string): void;
}

/** A request on its way. */
export interface Incoming {
  route: Route;
  request: Request;
  params: Readonly<Record<string, string>>;
  /** The peer's address, empty when it is not known. */
  address: string;
  /** Whether the peer has disconnected, if known. */
  isGone(): boolean;
  requestId: string;
  /** Its place among those in flight. */
  slot: Slot;
}

const NO_QUERY = object({});

/** Most bytes of a body from a sender who is not a user yet. */
const NEWCOMER_BYTES = 16 * 1024;
/** Memory of a streamed body: its blocks on their way to the storage. */
const STREAM_BYTES = 1024 * 1024;

/** How long a request waits for the writes it was made after, milliseconds. */
const REACH_MS = 1_500;
/** How long it may do so whatever others of its key do, milliseconds. */
const REACH_SOON_MS = 50;
/** Requests of one key that may wait for longer at once: each asks the store again and again. */
const REACH_PLACES = 16;

/** The author of changes by unsigned requests. */
const UNSIGNED = "http";

/** Codes of a refusal; any other error means that the question could not be answered. */
const REFUSALS = new Set(["unauthenticated", "forbidden", "not_found"]);

/** The sender where signatures are not checked. */
const NOBODY: Sender = { endpoint: null, digest: null, fault: null, proof: null };

/** Takes requests to their routes. */
export class Pipeline {
  readonly #around: Surroundings;
  readonly #options: ControlPlaneOptions;
  readonly #senders: Authenticator;
  readonly #registrations: Limit;
  readonly #questions: Limit;
  readonly #blobs: BlobStore | null;
  readonly #budget: BodyBudget;
  readonly #quotas: Quotas;
  readonly #turns = new Turns();
  /** Requests that wait for a revision, by key. */
  readonly #reaching = new Map<string, number>();

  /** Makes one; it remembers no earlier requests. */
  constructor(around: Surroundings, options: ControlPlaneOptions) {
    this.#around = around;
    this.#options = options;
    this.#senders = new Authenticator(around.busAuth, options);
    const perMinute = options.registrationsPerMinute ?? 60;
    this.#registrations = limitOf(perMinute, "registrations");
    this.#questions = limitOf(perMinute, "unsigned requests");
    this.#blobs = options.blobs ?? null;
    this.#quotas = quotasOf(options, around.busAuth);
    this.#budget = new BodyBudget(options.maxBodyMemory ?? 64 * 1024 * 1024);
  }

  /** Bytes of memory that request bodies use now. */
  get bodyBytes(): number {
    return this.#budget.bytes;
  }

  /** Answers a request, or throws the error it met. */
  async run(incoming: Incoming): Promise<Response> {
    const shares: BodyShare[] = [];
    try {
      return await this.#run(incoming, (key) => {
        const share = this.#budget.open(key);
        shares.push(share);
        return share;
      });
    } finally {
      for (const share of shares) share.close();
    }
  }

  async #run(incoming: Incoming, openShare: (key: string | null) => BodyShare): Promise<Response> {
    const { route, request, params } = incoming;
    const alarm = this.#options.alarm?.() ?? null;
    if (alarm !== null) throw alarmed(alarm);
    if (this.#around.busAuth !== "enforce") demandOwnName(request, this.#options.authorities);
    if (route.who === "newcomer") await this.#registrations(incoming.address);
    const isOpen = route.who === "anyone";
    if (isOpen) await this.#questions(incoming.address);
    const { endpoint, digest, fault, proof } = isOpen ? NOBODY : this.#senders.sender(request);
    // A missing permission is thrown under `enforce`, and reported under `soft`.
    const judge = (check: () => void | Promise<void>) => this.#judge(incoming, endpoint, check);
    // An unproved sender is not checked further: what `enforce` would have done has been reported.
    const isJudged = !isOpen && this.#around.busAuth !== "off" && fault === null;
    if (fault !== null) {
      await judge(() => {
        throw fault;
      });
    }
    await this.#reach(incoming, endpoint);
    const given = queryOf(request.url);
    const { store, operations } = this.#around;
    const all = given.all === "true";
    const mayDo = () =>
      authorize(route.who, { store, endpoint, roomId: params.id, about: params.endpoint, all });
    let isAllowed = false;
    if (isJudged) {
      isAllowed = await judge(mayDo);
      const by = route.who === "newcomer" ? "newcomer" : "user";
      let early = 0;
      if (proof !== null) await judge(() => void (early = this.#senders.demandUnseen(proof, by)));
      if (early > 0) {
        await incoming.slot.waitFor(() => delay(early));
        isAllowed = await judge(mayDo);
      }
      if (route.streams && request.method === "PUT") await judge(() => demandDigest(digest));
    }
    if (isAllowed && proof !== null && endpoint !== null) operations.seen(endpoint);
    const query = read(route.query ?? NO_QUERY, given);
    // Anyone can create new keys or send no signature, and an unproved key could be anyone's.
    const isUnknown = isOpen || route.who === "newcomer";
    const address = incoming.address === "" ? null : groupOf(incoming.address);
    const share = openShare(isUnknown ? address : isAllowed ? endpoint : null);
    const body = await this.#body(incoming, share, async (bytes) => {
      // Also without a body: a body that was signed must not be removed on the way.
      if (isJudged && (bytes.length > 0 || digest !== null)) {
        await judge(() => checkDigest(bytes, digest));
      }
    });
    // The client decides when its body ends, and may by then be revoked, or no longer own that room.
    if (isAllowed && route.body !== undefined) await judge(mayDo);
    // A wrong signature, which `soft` lets pass, says nothing about who sent it.
    const acting = request.method === "GET"
      ? null
      : store.as((fault === null ? endpoint : null) ?? UNSIGNED);
    let admin: Promise<boolean> | undefined;
    const call: Call = {
      store: acting ?? store,
      blobs: this.#blobs,
      maxBlobBytes: this.#options.maxBlobBytes ?? 64 * 1024 * 1024,
      requireEncrypted: this.#options.requireEncrypted ?? false,
      quotas: this.#quotas,
      inTurn: (key, work) =>
        this.#inTurn(incoming, key, work, async () => {
          if (isAllowed) await judge(mayDo);
        }),
      tellFailure: (what, error) =>
        this.#around.tell({
          level: "warn",
          event: "failed",
          requestId: incoming.requestId,
          route: route.id,
          code: error instanceof StoreError ? error.code : "internal",
          reason: `${what}: ${error instanceof Error ? error.message : String(error)}`,
        }),
      operations,
      isGone: incoming.isGone,
      request,
      endpoint,
      params,
      query,
      digest,
      body,
      caller: () => {
        if (endpoint !== null) return endpoint;
        throw new StoreError("unauthenticated", "The request must be signed to identify its user");
      },
      mayAccept: async (member) => {
        if (this.#around.busAuth === "off") return true;
        if (proof === null || endpoint === null) return false;
        // Read once: a new room may have 10,000 members.
        return member === endpoint || await (admin ??= isAdmin(store, endpoint));
      },
      demand: async (check) => {
        if (isJudged) await judge(check);
      },
    };
    // A stream, or a wait for changes, must not count as load.
    const takesTime = route.waits === true || (route.streams && request.method === "PUT");
    const handle = async () => await route.handle(call);
    const work = () => takesTime ? incoming.slot.waitFor(handle) : handle();
    const answer = await this.#around.record(route, call, proof !== null, work);
    const response = answer instanceof Response ? answer : respond(answer, route.status);
    const revision = acting?.revision ?? null;
    if (revision !== null) response.headers.set(REVISION_HEADER, revision);
    // For those only who may read the list.
    const version = isOpen ? null : operations.nodesVersion();
    if (version !== null) response.headers.set(NODES_HEADER, version);
    return response;
  }

  /** Waits until the store has what the request says it was made after; for users only. */
  async #reach({ request, slot }: Incoming, endpoint: string | null): Promise<void> {
    const revision = request.headers.get(REVISION_HEADER);
    if (revision === null) return;
    parseRevision(REVISION_HEADER, revision);
    const { store, busAuth } = this.#around;
    if (busAuth === "enforce" && (endpoint === null || !await isActive(store, endpoint))) return;
    const end = new AbortController();
    const late = () => {
      throw new StoreError("unavailable", `Revision ${revision} is not known on this node`);
    };
    try {
      await slot.waitFor(async () => {
        const reaching = store.reach(revision, end);
        const isSoon = await within(REACH_SOON_MS, reaching.then(() => true), () => false);
        if (!isSoon) await this.#inPlace(endpoint, () => within(REACH_MS, reaching, late));
      });
    } catch (error) {
      if (!(error instanceof StoreError) || error.code !== "unavailable") throw error;
      // Nothing was done: another node may have it.
      const extras = { reason: "not_ready", isShown: true };
      throw new Refusal("unavailable", error.message, { field: REVISION_HEADER, ...extras });
    } finally {
      end.abort();
    }
  }

  /** Does `work` in one of the places of a key. */
  async #inPlace(endpoint: string | null, work: () => Promise<void>): Promise<void> {
    const key = endpoint ?? "";
    const taken = this.#reaching.get(key) ?? 0;
    if (taken >= REACH_PLACES) {
      throw new StoreError("unavailable", "Too many requests of this key wait for a revision");
    }
    this.#reaching.set(key, taken + 1);
    try {
      await work();
    } finally {
      const left = this.#reaching.get(key)! - 1;
      if (left === 0) this.#reaching.delete(key);
      else this.#reaching.set(key, left);
    }
  }

  /** Does `work` in its turn; after a wait only if the client is still connected and `mayDo` passes. */
  async #inTurn<T>(
    { slot, isGone }: Incoming,
    key: string,
    work: () => Promise<T>,
    mayDo: () => Promise<void>,
  ): Promise<T> {
    const { promise: turn, resolve: begin } = Promise.withResolvers<void>();
    const waits = this.#turns.isTaken(key);
    const done = this.#turns.take(key, async () => {
      begin();
      if (waits) {
        if (isGone()) throw new Refusal("aborted", "The client disconnected", { status: 400 });
        await mayDo();
      }
      return await work();
    });
    const [found] = await Promise.all([done, slot.waitForTurn(turn)]);
    return found;
  }

  async #body(
    { route, request, slot }: Incoming,
    share: BodyShare,
    checkBytes: (bytes: Uint8Array) => Promise<void>,
  ): Promise<unknown> {
    if (route.body !== undefined) {
      const usual = this.#options.maxJsonBytes ?? route.maxBytes ?? 1024 * 1024;
      const max = route.who === "newcomer" ? Math.min(usual, NEWCOMER_BYTES) : usual;
      checkLength(request.headers, max);
      if (isLarge(request.headers)) share.large();
      const value = await slot.waitForBody(() => jsonOf(request, max, share, checkBytes));
      return read(route.body, value === undefined ? {} : value);
    }
    if (route.streams && request.method === "PUT") {
      share.hold(STREAM_BYTES);
      return undefined;
    }
    if (!route.streams && hasBody(request.headers)) {
      throw new StoreError("invalid", "This request must not have a body");
    }
    return undefined;
  }

  async #judge(
    { route, address, requestId }: Incoming,
    endpoint: string | null,
    check: () => void | Promise<void>,
  ): Promise<boolean> {
    try {
      await check();
      return true;
    } catch (error) {
      // If the store does not answer, `soft` fails too.
      if (!(error instanceof StoreError) || !REFUSALS.has(error.code)) throw error;
      const { busAuth, tell, count } = this.#around;
      const enforced = busAuth === "enforce";
      // Counted first: a flood of refusals must not flood the log.
      const answer = enforced ? await this.#senders.refusal(error, address) : error;
      count(error.field ?? error.code);
      tell({
        level: "warn",
        event: enforced ? "refused" : "would_refuse",
        requestId,
        route: route.id,
        address,
        endpoint,
        code: error.code,
        reason: error.message,
      });
      if (enforced) throw answer;
      return false;
    }
  }
}

function read(schema: Schema<unknown>, value: unknown): unknown {
  return schema.read("", value);
}

/** The query as an object of texts. */
function queryOf(url: string): Record<string, string> {
  const at = url.indexOf("?");
  const found: Record<string, string> = Object.create(null);
  if (at < 0) return found;
  for (const [name, value] of new URLSearchParams(url.slice(at))) {
    if (Object.hasOwn(found, name)) {
      const field = name.slice(0, 64);
      throw new StoreError("invalid", "The query contains a parameter twice", { field });
    }
    found[name] = value;
  }
  return found;
}

function respond(value: unknown, status: number): Response {
  return value === undefined ? new Response(null, { status }) : Response.json(value, { status });
}
