/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
/**
 * What the console asks of the server.
 *
 * @module
 */

import type {
  CreatedInvite,
  Invite,
  InviteState,
  Page,
  Room,
  User,
  UserRole,
} from "../../../core/model.ts";
import type {
  Changes,
  History,
  RoomRoster,
  ServerStatus,
  Usage,
} from "../../../core/operations.ts";
import { type Api as Caller, ApiError } from "../../shared/api.ts";
import { Failure } from "./failure.ts";

/** Which part of a list. */
export interface Part {
  limit?: number;
  after?: string | null;
}

/** What the console can do. Everything throws a `Failure`. */
export interface Api {
  me(signal?: AbortSignal): Promise<{ endpoint: string; user: User | null }>;
  users(
    filter: { search?: string; role?: string; status?: string } & Part,
    signal?: AbortSignal,
  ): Promise<Page<User>>;
  user(signPub: string, signal?: AbortSignal): Promise<User>;
  revoke(signPub: string): Promise<User>;
  restore(signPub: string): Promise<User>;
  setRole(signPub: string, role: UserRole): Promise<User>;
  remove(signPub: string): Promise<void>;
  invites(filter: { state?: InviteState } & Part, signal?: AbortSignal): Promise<Page<Invite>>;
  invite(id: string, signal?: AbortSignal): Promise<Invite>;
  makeInvite(invite: { role: UserRole; note: string; expiresIn: number }): Promise<CreatedInvite>;
  cancelInvite(id: string): Promise<Invite>;
  rooms(part: Part, signal?: AbortSignal): Promise<Page<Room>>;
  roster(id: string, part: { lacking?: boolean } & Part, signal?: AbortSignal): Promise<RoomRoster>;
  usage(signal?: AbortSignal): Promise<Usage>;
  status(signal?: AbortSignal): Promise<ServerStatus>;
  history(signal?: AbortSignal): Promise<History>;
  /** What has changed since `after`; where nothing has, it waits for that or answers at once. */
  changes(after: string | null, waits: boolean, signal: AbortSignal): Promise<Changes>;
  /** How far the server's clock is ahead of this one, milliseconds; 0 where that is no trouble. */
  clockOffset(): number;
}

/** How long the server holds a poll for changes, seconds. */
const WAIT = 25;

/**
 * Makes it of what signs and carries requests.
 *
 * @param onEnded Called when an answer says that whoever is signed in is no admin any more
 */
export function apiOf(caller: Caller, onEnded: () => void): Api {
  const told = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work;
    } catch (error) {
      const failure = error instanceof ApiError ? failureIn(error, caller.clockOffset) : error;
      if (failure instanceof Failure && failure.kind === "ended") onEnded();
      throw failure;
    }
  };
  const get = <T>(
    path: string,
    signal: AbortSignal | undefined,
    query: Query = {},
    timeout?: number,
  ): Promise<T> =>
    told(caller.get<T>(path, {
      query,
      ...signal === undefined ? {} : { signal },
      ...timeout === undefined ? {} : { timeout },
    }));
  const post = <T>(path: string, json?: unknown): Promise<T> => told(caller.post<T>(path, json));
  return {
    me: (signal) => get("me", signal),
    users: (filter, signal) => get("users", signal, given(filter)),
    user: (signPub, signal) => get(`users/${encodeURIComponent(signPub)}`, signal),
    revoke: (signPub) => post(`users/${encodeURIComponent(signPub)}/revoke`),
    restore: (signPub) => post(`users/${encodeURIComponent(signPub)}/restore`),
    setRole: (signPub, role) => post(`users/${encodeURIComponent(signPub)}/role`, { role }),
    remove: (signPub) => told(caller.delete(`users/${encodeURIComponent(signPub)}`)),
    invites: (filter, signal) => get("invites", signal, given(filter)),
    invite: (id, signal) => get(`invites/${encodeURIComponent(id)}`, signal),
    makeInvite: (invite) => post("invites", invite),
    cancelInvite: (id) => post(`invites/${encodeURIComponent(id)}/cancel`),
    rooms: (part, signal) => get("rooms", signal, { all: true, ...given(part) }),
    roster: (id, part, signal) =>
      get(`rooms/${encodeURIComponent(id)}/roster`, signal, given(part)),
    usage: (signal) => get("usage", signal),
    status: (signal) => get("status", signal),
    history: (signal) => get("history", signal),
    changes: (after, waits, signal) => {
      const wait = waits ? WAIT : 0;
      return get("changes", signal, { after, wait, limit: 200 }, (wait + 15) * 1000);
    },
    clockOffset: () => caller.clockOffset,
  };
}

type Query = Readonly<Record<string, string | number | boolean | null | undefined>>;

/** What a filter really asks for: an empty search is none, and `false` is the usual. */
function given(filter: object): Query {
  return Object.fromEntries(
    Object.entries(filter).filter(([, value]) => value !== "" && value !== false),
  );
}

/** Fields whose fault is not the caller's standing. */
const NOT_STANDING = new Set(["host", "origin"]);

/** What went wrong, as the console tells it. */
function failureIn(error: ApiError, clockOffset: number): Failure {
  const { code, reason, message } = error;
  const particulars = {
    code,
    detail: message,
    requestId: error.requestId ?? undefined,
    field: error.field ?? undefined,
    retryAfter: error.retryAfter ?? undefined,
    skew: -clockOffset,
  };
  if (code === "unreachable" || code === "foreign") {
    return new Failure("unreachable", message, particulars);
  }
  if (reason === "created") return new Failure("clock", message, particulars);
  const isEnd = code === "forbidden" && !NOT_STANDING.has(error.field ?? "");
  return new Failure(isEnd ? "ended" : "problem", message, particulars);
}
