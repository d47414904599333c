/**
 * The client: one method an endpoint of the control plane.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { StoreError } from "../../core/errors.ts";
import type { SealedKey } from "../../core/model.ts";
import type { Changes } from "../../core/operations.ts";
import * as check from "../../core/validate.ts";
import { uploadOf, verified } from "./blobs.ts";
import { type Call, Caller } from "./caller.ts";
import { textOf } from "./failure.ts";
import { httpsFetch } from "./https.ts";
import type { Client, ClientOptions, Fetch, ReadBlob } from "../types.ts";

const TIMEOUT_MS = 10_000;
const BLOB_TIMEOUT_MS = 300_000;

/**
 * Makes a client of a control plane. Nothing is sent before the first call.
 *
 * @throws {StoreError} `invalid` for a URL that is none
 *
 * @example
 * ```ts
 * import { openSqlite } from "@unibus/membership";
 * import { createClient, createIdentity } from "@unibus/membership/client";
 * import { createControlPlane } from "@unibus/membership/http";
 *
 * await using store = openSqlite(":memory:");
 * const { token } = await store.createInvite({ createdBy: "cli", role: "admin" });
 *
 * const plane = createControlPlane(store);
 * using client = createClient({
 *   url: "http://127.0.0.1:8470",
 *   identity: createIdentity(),
 *   fetch: plane.fetch, // to call it in this process; leave it out to call a server
 * });
 * await client.register(token, "ada");
 * const room = await client.createRoom({ id: "kitchen", encrypted: false });
 * if (room.epoch !== 1) throw new Error("unreachable");
 * ```
 */
export function createClient(options: ClientOptions): Client {
  const base = baseOf(options.url);
  const { fetch, close: hangUp } = transport(options, base);
  const caller = new Caller({
    base,
    identity: options.identity ?? null,
    fetch,
    timeout: options.timeout ?? TIMEOUT_MS,
    retries: options.retries ?? 2,
  });
  const close = () => {
    caller.close();
    hangUp();
  };

  function ask<T>(
    method: Call<T>["method"],
    path: string,
    more: { query?: object; json?: object; signed?: false; read?: (answer: unknown) => T } = {},
  ): Promise<T> {
    const { query, json, read, ...how } = more;
    return caller.call<T>({
      method,
      path: `/v1/${path}`,
      ...how,
      ...(query && { query: query as Record<string, unknown> }),
      ...(json && {
        body: new TextEncoder().encode(JSON.stringify(json)),
        headers: { "content-type": "application/json" },
      }),
      read: async (response) => {
        const answer = await jsonOf(response);
        return read === undefined ? answer as T : read(answer);
      },
    });
  }

  const get = (path: string): Promise<string> =>
    caller.call({ method: "GET", path, signed: false, read: textOf });

  return {
    // Methods are async so that a value that is refused here rejects as one refused there does.
    async register(token, handle) {
      const kexPub = options.identity?.kexPub;
      return await ask("POST", "register", { json: { token, kexPub, handle } });
    },
    checkInvite: async (token) =>
      await ask("POST", "register/check", { json: { token }, signed: false }),
    me: () => ask("GET", "me"),

    listUsers: (page) => ask("GET", "users", { query: page }),
    addUser: async (user) => await ask("POST", "users", { json: check.object("user", user) }),
    getUser: async (signPub) => await ask("GET", user(signPub)),
    revokeUser: async (signPub, options) =>
      await ask("POST", `${user(signPub)}/revoke`, { json: options ?? {} }),
    restoreUser: async (signPub) => await ask("POST", `${user(signPub)}/restore`),
    setUserRole: async (signPub, role, options) =>
      await ask("POST", `${user(signPub)}/role`, { json: { ...options, role } }),
    deleteUser: async (signPub, options) =>
      await ask("DELETE", user(signPub), { query: options, read: nothing }),

    listInvites: (page) => ask("GET", "invites", { query: page }),
    createInvite: (invite) => ask("POST", "invites", { json: invite ?? {} }),
    getInvite: async (id) => await ask("GET", invite(id)),
    cancelInvite: async (id) => await ask("POST", `${invite(id)}/cancel`),

    listRooms: (page) => ask("GET", "rooms", { query: page }),
    async createRoom(input) {
      const { sealedKeys, ...rest } = check.object("room", input);
      return await ask("POST", "rooms", { json: { ...rest, sealedKeys: keys(sealedKeys) } });
    },
    getRoom: async (id) => await ask("GET", room(id)),
    deleteRoom: async (id) => await ask("DELETE", room(id), { read: nothing }),

    listMembers: async (roomId, page) =>
      await ask("GET", `${room(roomId)}/members`, { query: page }),
    async addMember(roomId, member, key) {
      const { accepted } = check.object("member", member);
      const json = {
        ...check.newMember("member", member),
        accepted,
        key: key && sealed("key", key),
      };
      return await ask("POST", `${room(roomId)}/members`, { json });
    },
    getMember: async (roomId, endpoint) => await ask("GET", memberOf(roomId, endpoint)),
    joinRoom: async (roomId) => await ask("POST", `${room(roomId)}/join`),
    changeRoomOwner: async (roomId, endpoint) =>
      await ask("POST", `${room(roomId)}/owner`, { json: { endpoint } }),
    removeMember: async (roomId, endpoint) =>
      await ask("DELETE", memberOf(roomId, endpoint), { read: nothing }),

    async rekeyRoom(roomId, rekey) {
      const { epoch, sealedKeys } = check.object("rekey", rekey);
      const json = { epoch, sealedKeys: keys(sealedKeys ?? []) };
      return await ask("POST", `${room(roomId)}/rekey`, { json });
    },
    getSealedKey: async (roomId, epoch) =>
      await ask("GET", `${room(roomId)}/key`, { query: { epoch }, read: unsealed }),
    async putSealedKey(key) {
      const { roomId, ...rest } = check.object("key", key);
      const json = sealed("", rest);
      return await ask("PUT", `${room(roomId)}/keys`, { json, read: unsealed });
    },
    listSealedKeys: async (roomId, options) =>
      await ask("GET", `${room(roomId)}/keys`, {
        query: options,
        read: (answer) => {
          const { items, next } = answer as { items: unknown[]; next: string | null };
          return { items: items.map(unsealed), next };
        },
      }),

    async putBlob(source, { signal, timeout = BLOB_TIMEOUT_MS } = {}) {
      return await caller.call({
        method: "PUT",
        path: "/v1/blobs",
        headers: { "content-type": "application/octet-stream" },
        body: await uploadOf(source),
        timeout,
        ...(signal && { signal }),
        read: async (response) => await jsonOf(response) as { id: string; size: number },
      });
    },
    async getBlob(id, { signal, timeout = BLOB_TIMEOUT_MS, start, end } = {}) {
      const hex = check.hashId("id", id);
      const isPart = start !== undefined || end !== undefined;
      const from = check.integer("start", start ?? 0, 0, Number.MAX_SAFE_INTEGER);
      const to = end === undefined ? "" : check.integer("end", end, from, Number.MAX_SAFE_INTEGER);
      return await caller.call<ReadBlob>({
        method: "GET",
        path: `/v1/blobs/${hex}`,
        ...(isPart && { headers: { range: `bytes=${from}-${to}` } }),
        timeout,
        ...(signal && { signal }),
        read: (response) => {
          const body = response.body ?? new Blob().stream();
          if (isPart && response.status !== 206) {
            void body.cancel().catch(() => {});
            throw new StoreError("unsupported", `The blob ${hex} came whole, a part was asked for`);
          }
          return { ...sizeOf(hex, response), body: isPart ? body : verified(body, hex) };
        },
      });
    },
    async statBlob(id) {
      const hex = check.hashId("id", id);
      const path = `/v1/blobs/${hex}`;
      return await caller.call({ method: "HEAD", path, read: (it) => sizeOf(hex, it) });
    },
    deleteBlob: async (id, options) =>
      await ask("DELETE", `blobs/${check.hashId("id", id)}`, { query: options, read: nothing }),

    roomRoster: async (roomId, options) =>
      await ask("GET", `${room(roomId)}/roster`, { query: options }),
    status: () => ask("GET", "status"),
    usage: () => ask("GET", "usage"),
    history: () => ask("GET", "history"),
    changes({ signal, ...query } = {}) {
      return caller.call({
        method: "GET",
        path: "/v1/changes",
        query,
        timeout: (query.wait ?? 0) * 1000 + (options.timeout ?? TIMEOUT_MS),
        ...(signal && { signal }),
        read: async (response) => await jsonOf(response) as Changes,
      });
    },

    isAlive: () => get("/healthz").then(() => true, () => false),
    readiness: () =>
      caller.call({
        method: "GET",
        path: "/readyz",
        signed: false,
        accept: [503],
        read: async (response) => await jsonOf(response) as { ok: boolean; checks: [] },
      }),
    metrics: () => get("/metrics"),
    openApi: async () => JSON.parse(await get("/openapi.json")),

    close,
    [Symbol.dispose]: close,
  };
}

function baseOf(given: string | URL): URL {
  let base: URL | null = null;
  try {
    base = new URL(given);
  } catch {
    // Judged below.
  }
  const isHttp = base?.protocol === "http:" || base?.protocol === "https:";
  if (
    base === null || !isHttp || base.search !== "" || base.hash !== "" ||
    base.username + base.password !== ""
  ) {
    // Not shown: somebody may have put a password into it.
    throw new StoreError("invalid", "url must be such as https://bus.example:8470", {
      field: "url",
    });
  }
  if (!base.pathname.endsWith("/")) base.pathname += "/";
  return base;
}

function transport(options: ClientOptions, base: URL): { fetch: Fetch; close: () => void } {
  const nothing = () => {};
  const { ca } = options;
  if (options.fetch !== undefined) return { fetch: options.fetch, close: nothing };
  if (ca === undefined) return { fetch: (request) => fetch(request), close: nothing };
  if (base.protocol !== "https:") {
    throw new StoreError("invalid", "ca is for a url that begins with https:", { field: "ca" });
  }
  return httpsFetch(ca);
}

async function jsonOf(response: Response): Promise<unknown> {
  const text = await textOf(response);
  if (text === "") return undefined;
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new StoreError("unsupported", "The answer is not of a control plane: it is no JSON", {
      cause,
    });
  }
}

function nothing(): void {}

const user = (signPub: unknown): string => `users/${check.signPub("signPub", signPub)}`;
const invite = (id: unknown): string => `invites/${check.hashId("id", id)}`;
const room = (id: unknown): string => `rooms/${encodeURIComponent(check.roomId("id", id))}`;
const memberOf = (roomId: unknown, endpoint: unknown): string =>
  `${room(roomId)}/members/${check.signPub("endpoint", endpoint)}`;

/** Sealed keys as JSON carries them; left out where there are none. */
function keys(value: unknown): unknown {
  return value === undefined
    ? undefined
    : check.array("sealedKeys", value).map((it, i) => sealed(`sealedKeys[${i}]`, it));
}

/** An object with its `sealedKey` as base64url. */
function sealed(field: string, value: unknown): Record<string, unknown> {
  const it = check.object(field, value);
  const name = field === "" ? "sealedKey" : `${field}.sealedKey`;
  const bytes = check.sealedKey(name, it.sealedKey);
  return { ...it, sealedKey: Buffer.from(bytes).toString("base64url") };
}

function unsealed(value: unknown): SealedKey {
  const it = value as SealedKey & { sealedKey: string };
  if (typeof it?.sealedKey !== "string") {
    throw new StoreError(
      "unsupported",
      "The answer is not of a control plane: it is no sealed key",
    );
  }
  return { ...it, sealedKey: new Uint8Array(Buffer.from(it.sealedKey, "base64url")) };
}

/** The size of the whole blob. */
function sizeOf(id: string, { headers }: Response): { id: string; size: number } {
  const [, total] = /\/(\d+)$/.exec(headers.get("content-range") ?? "") ?? [];
  return { id, size: Number(total ?? headers.get("content-length")) };
}
