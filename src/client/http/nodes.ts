/**
 * The nodes of one control plane: sends each call to one that answers.
 *
 * @module
 */

import { orAbort } from "../../core/async/wait.ts";
import { isStoreError, type StoreError } from "../../core/errors.ts";
import { NODES_HEADER, REVISION_HEADER } from "../../core/status.ts";
import {
  type Call,
  canResend,
  isRepeatable,
  isUnanswered,
  type Target,
  wasRefused,
} from "./call.ts";
import { answerOf, jsonOf, textOf } from "./failure.ts";
import { followed, maySayNodes } from "./follow.ts";
import { type Seen, SeenOfNodes } from "./seen.ts";
import { Sender, type SenderOptions } from "./sender.ts";

/** A node that does not respond for this long is left for another, milliseconds. */
const SLOW_MS = 2_000;
/** Time limit of a node for `/readyz`, and for its list of nodes, milliseconds. */
const PROBE_MS = 1_000;
/** A write goes only to a node that has answered within this time, or that answers a probe. */
const FRESH_MS = 2_000;
/** How long a node that failed is used only if no other is ready, milliseconds. */
const AVOID_MS = 5_000;
/** How often a client looks whether a given URL answers again, or for the list it could not read. */
const REVIEW_MS = 30_000;

/** Options of {@link Nodes}. */
export interface NodesOptions extends Omit<SenderOptions, "base" | "seen" | "onSeen"> {
  /** The URLs that the caller gave. */
  given: readonly URL[];
  /** Whether to ask the server for other nodes. */
  learns: boolean;
  /** What a control plane must have. */
  seen: Seen;
  /** Whether a failure of `fetch` means that nothing was sent. */
  wasUnsent(cause: unknown): boolean;
}

interface Node {
  readonly url: URL;
  readonly sender: Sender;
  /** Whether the caller gave its URL. */
  readonly isGiven: boolean;
  /** The version of the list of nodes in its last response. */
  version: string | null;
  /** When it answered last, and until when others are preferred, by the monotonic clock. */
  answeredAt: number;
  avoidUntil: number;
}

/** Sends calls to one of several nodes, and to another when that one fails. */
export class Nodes implements Target {
  readonly #options: NodesOptions;
  readonly #seen: SeenOfNodes;
  readonly #given: readonly Node[];
  readonly #closing = new AbortController();
  #learned: Node[] = [];
  /** The version of the list that was learned. */
  #version: string | null = null;
  /** The node in use; `null` if one must be chosen. */
  #current: Node | null;
  /** The given node that was used last. */
  #home: Node;
  #choosing: Promise<Node | null> | null = null;
  #learnAt = -Infinity;
  #reviewAt = Infinity;

  /** Starts with the given URLs. Sends nothing. */
  constructor(options: NodesOptions) {
    this.#options = options;
    this.#seen = new SeenOfNodes(options.seen);
    this.#given = options.given.map((url) => this.#node(url, true));
    this.#home = this.#given[0]!;
    this.#current = this.#given.length === 1 ? this.#home : null;
  }

  get clockOffset(): number {
    return (this.#current ?? this.#home).sender.clockOffset;
  }

  get generation(): number {
    return this.#seen.generation;
  }

  get revision(): string | null {
    return this.#seen.revision;
  }

  /**
   * The authority of the given node that was used last. Not that of a learned one: a control plane could
   * name another one as its node, and would get what its user certifies for that.
   */
  get authority(): string {
    return this.#home.url.host;
  }

  /** Whether the node in use may say what the nodes are: see `follow.ts`. */
  get isPrivate(): boolean {
    return this.#given.every(({ url }) => maySayNodes(url));
  }

  /** Ends requests in the background. */
  close(): void {
    this.#closing.abort();
  }

  /** Sends a call to the node in use, and to others in turn while that is safe. */
  async send<T>(call: Call<T>, signal: AbortSignal): Promise<T> {
    const tried = new Set<Node>();
    for (let node = await this.#nodeFor(call, signal);;) {
      tried.add(node);
      try {
        return await this.#attempt(node, call, signal, tried);
      } catch (error) {
        if (!isStoreError(error) || !this.#mustLeave(node, call, error)) throw error;
        if (node.isGiven && error.field === REVISION_HEADER) this.#seen.doubt(performance.now());
        this.#leave(node);
        if (signal.aborted || !this.#mayGoOn(call, error)) throw error;
        const next = await this.#choose(tried, signal);
        if (next === null) throw error;
        node = next;
      }
    }
  }

  get #all(): Node[] {
    return [...this.#given, ...this.#learned];
  }

  #node(url: URL, isGiven: boolean): Node {
    const seen = this.#seen;
    const { fetch } = this.#options;
    const node: Node = {
      url,
      isGiven,
      version: null,
      answeredAt: -Infinity,
      avoidUntil: -Infinity,
      sender: new Sender({
        ...this.#options,
        base: url,
        seen,
        onSeen: (said) => seen.note(isGiven, said),
        fetch: async (request) => {
          const response = await fetch(request);
          node.version = response.headers.get(NODES_HEADER) ?? node.version;
          return response;
        },
      }),
    };
    return node;
  }

  /** Returns the node for the first attempt of a call. */
  async #nodeFor(call: Call<unknown>, signal: AbortSignal): Promise<Node> {
    const node = this.#current;
    if (node !== null && this.#all.length > 1) {
      const now = performance.now();
      if (!node.isGiven && now >= this.#reviewAt) this.#review(now);
      const isStale = !isRepeatable(call) && now - node.answeredAt > FRESH_MS;
      // A write without a response cannot be repeated elsewhere, so none is sent to a dead node.
      if (isStale && !await orAbort(this.#isReady(node), signal)) this.#leave(node);
    }
    return this.#current ?? await this.#choose(new Set(), signal) ?? this.#all[0]!;
  }

  async #attempt<T>(
    node: Node,
    call: Call<T>,
    signal: AbortSignal,
    tried: ReadonlySet<Node>,
  ): Promise<T> {
    const isLast = this.#all.every((it) => tried.has(it));
    const patience = SLOW_MS + (call.waits ?? 0);
    const slow = new AbortController();
    const timer = setTimeout(() => {
      this.#leave(node);
      if (isRepeatable(call) && call.body === undefined && !isLast) slow.abort(patience);
    }, patience);
    try {
      const result = await node.sender.send({
        ...call,
        read: (response) => {
          clearTimeout(timer);
          return call.read(response);
        },
      }, AbortSignal.any([signal, slow.signal]));
      node.answeredAt = performance.now();
      node.avoidUntil = -Infinity;
      if (this.#current === null) this.#use(node);
      await this.#learn(node, signal);
      return result;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Whether an error is the node's and not the call's. */
  #mustLeave({ isGiven }: Node, { method }: Call<unknown>, error: StoreError): boolean {
    const answer = answerOf(error);
    // What answers without a code is no control plane; to a HEAD none has a body for it.
    const isOther = answer?.code === null && method !== "HEAD";
    return isUnanswered(error) || isOther || error.field === "generation" ||
      answer?.reason === "authority" || (answer?.status === 401 && !isGiven);
  }

  /** Whether a call that a node failed may be sent to another at once. */
  #mayGoOn(call: Call<unknown>, error: StoreError): boolean {
    if (!canResend(call)) return false;
    const answer = answerOf(error);
    // An overloaded cluster must not get more requests for it.
    if (wasRefused(error)) return answer?.reason === "not_ready";
    return isRepeatable(call) || answer?.status === 401 ||
      (answer === null && this.#options.wasUnsent(error.cause));
  }

  #use(node: Node): void {
    this.#current = node;
    if (node.isGiven) this.#home = node;
    this.#reviewAt = performance.now() + REVIEW_MS;
  }

  #leave(node: Node): void {
    if (this.#all.length === 1) return;
    node.avoidUntil = performance.now() + AVOID_MS;
    if (this.#current === node) this.#current = null;
  }

  /** Returns a node that was not tried: a ready one if there is one. */
  async #choose(tried: ReadonlySet<Node>, signal: AbortSignal): Promise<Node | null> {
    const ready = this.#current ?? await orAbort(
      this.#choosing ??= this.#find(this.#ranked()).finally(() => this.#choosing = null),
      signal,
    );
    if (ready !== null && !tried.has(ready)) return ready;
    return this.#ranked().flat().find((it) => !tried.has(it)) ?? null;
  }

  /** Returns the nodes in the order of preference: given, learned, avoided. */
  #ranked(): Node[][] {
    const now = performance.now();
    const fine = this.#all.filter((it) => it.avoidUntil < now);
    return [
      fine.filter((it) => it.isGiven),
      fine.filter((it) => !it.isGiven),
      this.#all.filter((it) => it.avoidUntil >= now),
    ];
  }

  /** Finds the first node that is ready and uses it. */
  async #find(groups: readonly (readonly Node[])[]): Promise<Node | null> {
    for (const group of groups) {
      const node = await Promise.any(group.map(async (it) => {
        if (await this.#isReady(it)) return it;
        throw new Error("Not ready");
      })).catch(() => null);
      if (node === null) continue;
      this.#use(node);
      return node;
    }
    return null;
  }

  async #isReady(node: Node): Promise<boolean> {
    try {
      await this.#ask(node, { method: "GET", path: "/readyz", signed: false, read: textOf });
      node.answeredAt = performance.now();
      return true;
    } catch {
      return false;
    }
  }

  /** Sends a call of our own to one node. */
  async #ask<T>(node: Node, call: Call<T>): Promise<T> {
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(PROBE_MS), PROBE_MS);
    try {
      return await node.sender.send(call, AbortSignal.any([this.#closing.signal, late.signal]));
    } finally {
      clearTimeout(timer);
    }
  }

  /** Goes back to a given node, in the background. */
  #review(now: number): void {
    this.#reviewAt = now + REVIEW_MS;
    void this.#find([this.#given]);
  }

  /** Reads the list of nodes if a given node has another than the one that is known. */
  async #learn(node: Node, signal: AbortSignal): Promise<void> {
    const { learns, signer } = this.#options;
    const { version } = node;
    if (!learns || signer === null || !node.isGiven || !maySayNodes(node.url)) return;
    if (version === null || version === this.#version || performance.now() < this.#learnAt) return;
    const before = this.#version;
    this.#version = version;
    try {
      const answer = await orAbort(
        this.#ask(node, { method: "GET", path: "/v1/nodes", read: jsonOf }),
        signal,
      );
      this.#take(followed(answer, node.url));
    } catch {
      // The call itself has succeeded.
      this.#version = before;
      this.#learnAt = performance.now() + REVIEW_MS;
    }
  }

  #take(urls: readonly URL[]): void {
    const known = new Map(this.#all.map((it) => [it.url.href, it]));
    this.#learned = urls
      .filter(({ href }) => known.get(href)?.isGiven !== true)
      .map((url) => known.get(url.href) ?? this.#node(url, false));
    if (this.#current !== null && !this.#all.includes(this.#current)) this.#current = null;
  }
}
