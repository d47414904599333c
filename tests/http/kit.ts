/** A control plane in this process, and people who sign what they ask of it. */

import assert from "node:assert/strict";
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { openSqlite, type Store, type StoreRecord } from "@unibus/membership";
import { createControlPlane } from "../../src/http/control_plane.ts";
import type { ControlPlaneEvent } from "../../src/http/events.ts";
import type { ControlPlane, ControlPlaneOptions } from "../../src/http/options.ts";
import { digestOf, type Signer, signRequest } from "../../src/signature/mod.ts";

/** Somebody with keys of their own. */
export interface Someone extends Signer {
  /** X25519 public key, hex. */
  kexPub: string;
  /** Signs. */
  privateKey: KeyObject;
  /** Signs whatever a test wants, which no identity does. */
  sign(data: Uint8Array): Uint8Array;
}

/** The 32 bytes of a public key in hex. */
function hexOf(key: KeyObject): string {
  return key.export({ format: "der", type: "spki" }).subarray(-32).toString("hex");
}

/** Makes somebody. */
export function someone(): Someone {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  return {
    signPub: hexOf(publicKey),
    kexPub: hexOf(generateKeyPairSync("x25519").publicKey),
    privateKey,
    sign: (data) => sign(null, data, privateKey),
    signRequest: (base) => sign(null, base, privateKey),
  };
}

/** What a request came to. */
export interface Answer {
  status: number;
  headers: Headers;
  text: string;
  // deno-lint-ignore no-explicit-any
  json: any;
}

/** How a request is made. */
export interface Ask {
  /** Who signs; nobody by default. */
  as?: Signer | null;
  /** Sent as JSON, or as they are when bytes or text. */
  body?: unknown;
  headers?: Record<string, string>;
  created?: Date;
  nonce?: string;
  /** The sender's address. */
  address?: string;
  /** Changes the request after it was signed. */
  tamper?: (request: Request) => Request;
}

export const ORIGIN = "http://bus.example:8470";

/** Builds a request such as `POST /v1/rooms`. */
export async function requestOf(line: string, ask: Ask = {}): Promise<Request> {
  const [method = "", path = ""] = line.split(" ");
  const url = ORIGIN + path;
  const headers = new Headers(ask.headers);
  let body: Uint8Array<ArrayBuffer> | undefined;
  if (ask.body !== undefined) {
    const isRaw = typeof ask.body === "string" || ask.body instanceof Uint8Array;
    if (!isRaw && !headers.has("content-type")) headers.set("content-type", "application/json");
    body = ask.body instanceof Uint8Array
      ? new Uint8Array(ask.body)
      : new TextEncoder().encode(isRaw ? ask.body as string : JSON.stringify(ask.body));
    headers.set("content-length", String(body.length));
  }
  if (ask.as) {
    const signed = await signRequest(
      {
        method,
        url,
        ...(body === undefined ? {} : { digest: digestOf(body) }),
      },
      ask.as,
      {
        ...(ask.created === undefined ? {} : { created: ask.created }),
        ...(ask.nonce === undefined ? {} : { nonce: ask.nonce }),
      },
    );
    for (const [name, value] of Object.entries(signed)) headers.set(name, value);
  }
  const request = new Request(url, { method, headers, ...(body === undefined ? {} : { body }) });
  return ask.tamper?.(request) ?? request;
}

/** A control plane on a store of its own, with people in it. */
export interface TestPlane extends AsyncDisposable {
  store: Store;
  plane: ControlPlane;
  events: ControlPlaneEvent[];
  /** Asks. */
  ask(line: string, ask?: Ask): Promise<Answer>;
  /** Adds a user. */
  user(role?: "user" | "admin"): Promise<Someone>;
}

/** Makes one; under `enforce` unless told otherwise. */
export function testPlane(
  options: ControlPlaneOptions & { store?: Store } = {},
): Promise<TestPlane> {
  const store = options.store ?? openSqlite(":memory:", {
    ...(options.clock === undefined ? {} : { clock: options.clock }),
  });
  const events: ControlPlaneEvent[] = [];
  const plane = createControlPlane(store, {
    onEvent: (it) => events.push(it),
    ...options,
  });
  return Promise.resolve({
    store,
    plane,
    events,
    ask: async (line, ask = {}) => {
      const peer = { address: ask.address ?? "127.0.0.1" };
      return await answerOf(await plane.fetch(await requestOf(line, ask), peer));
    },
    user: async (role = "user") => {
      const it = someone();
      await store.addUser({ signPub: it.signPub, kexPub: it.kexPub, handle: role, role });
      return it;
    },
    [Symbol.asyncDispose]: () => {
      plane.close();
      return store.close();
    },
  });
}

/** Reads an answer to its end. */
export async function answerOf(response: Response): Promise<Answer> {
  const text = await response.text();
  const type = response.headers.get("content-type") ?? "";
  const json = type.includes("json") ? JSON.parse(text) : undefined;
  return { status: response.status, headers: response.headers, text, json };
}

/** Asserts that an answer is a problem with this code. */
export function isProblem(answer: Answer, status: number, code: string, field?: string): void {
  assert.equal(answer.status, status, answer.text);
  assert.equal(answer.headers.get("content-type"), "application/problem+json");
  assert.equal(answer.json.code, code, answer.text);
  assert.equal(answer.json.status, status);
  assert.equal(answer.json.requestId, answer.headers.get("x-request-id"));
  if (field !== undefined) assert.equal(answer.json.field, field, answer.text);
}

/** A room's worth of sealed keys as JSON carries them. */
export function sealedFor(...people: { signPub: string }[]): object[] {
  return people.map(({ signPub }) => ({
    endpoint: signPub,
    sealedKey: Buffer.from(`sealed for ${signPub}`).toString("base64url"),
  }));
}

/** Everything in a store. */
export async function recordsOf(store: Store): Promise<StoreRecord[]> {
  const all: StoreRecord[] = [];
  for await (const it of store.records()) all.push(it);
  return all;
}
