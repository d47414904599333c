/**
 * Signed requests to one control plane, each sent once.
 *
 * @module
 */

import { orAbort } from "../../core/async/wait.ts";
import { isLoopbackUrl } from "../../core/host/loopback.ts";
import { isStoreError, StoreError } from "../../core/errors.ts";
import { GENERATION_HEADER, REVISION_HEADER } from "../../core/status.ts";
import { type Signer, signRequest } from "../../signature/sign.ts";
import { type Call, canResend, nameOf, type Target, unanswered } from "./call.ts";
import { answerOf, failureOf } from "./failure.ts";
import { laterOf, type Seen } from "./seen.ts";
import type { Fetch } from "../types.ts";

/** Options of a {@link Sender}. */
export interface SenderOptions {
  /** URL of the control plane; its path ends with a slash. */
  base: URL;
  /** Signs the calls; with `null`, only calls that need no signature can be made. */
  signer: Signer | null;
  /** Returns the value of `Content-Digest` for a body. */
  digest(body: Uint8Array): string | Promise<string>;
  fetch: Fetch;
  /** What the control plane must have. Default: what its responses said. */
  seen?: Seen;
  /** Called with what a response said, if it is as new as `seen`. */
  onSeen?: (said: Seen) => void;
}

/** Whether nobody on the network can read or change what is sent to a URL. */
export function isPrivate(url: URL): boolean {
  return url.protocol === "https:" || isLoopbackUrl(url);
}

/** Sends calls to one control plane. */
export class Sender implements Target {
  readonly #options: SenderOptions;
  #own: Seen = { generation: 0, revision: null };
  #clockOffset = 0;

  /** Creates a sender. Sends nothing. */
  constructor(options: SenderOptions) {
    this.#options = options;
  }

  get clockOffset(): number {
    return this.#clockOffset;
  }

  get generation(): number {
    return this.#seen.generation;
  }

  get revision(): string | null {
    return this.#seen.revision;
  }

  get #seen(): Seen {
    return this.#options.seen ?? this.#own;
  }

  /** Sends a call, and once more if the server's clock is not ours. */
  async send<T>(call: Call<T>, signal: AbortSignal): Promise<T> {
    try {
      return await this.#once(call, signal);
    } catch (error) {
      const again = isStoreError(error) && canResend(call) && !signal.aborted;
      if (!again || !this.#correctClock(error)) throw error;
      return await this.#once(call, signal);
    }
  }

  async #once<T>(call: Call<T>, signal: AbortSignal): Promise<T> {
    const request = await this.#request(call, signal);
    try {
      const response = await orAbort(this.#options.fetch(request), signal);
      this.#judge(response, call);
      if (!response.ok && call.accept?.includes(response.status) !== true) {
        throw await orAbort(failureOf(response, nameOf(call)), signal);
      }
      return await orAbort(call.read(response), signal);
    } catch (error) {
      if (isStoreError(error)) throw error;
      throw unanswered(call, signal, error);
    }
  }

  /** Refuses a control plane that another has replaced; a node that came back late still answers. */
  #judge({ headers, body, ok }: Response, call: Call<unknown>): void {
    const said = headers.get(GENERATION_HEADER);
    // A proxy's own error says nothing of the control plane behind it.
    if (said === null && !ok) return;
    const generation = Number(said) || 0;
    if (generation < this.#seen.generation) {
      body?.cancel().catch(() => {});
      throw new StoreError(
        "refused",
        `${nameOf(call)}: the control plane has generation ${generation}, ` +
          `this client has seen ${this.#seen.generation}`,
        { field: "generation", hint: "it was replaced by another: use the URL of that" },
      );
    }
    const revision = laterOf(this.#own.revision, headers.get(REVISION_HEADER));
    this.#own = { generation, revision };
    this.#options.onSeen?.(this.#own);
  }

  async #request(call: Call<unknown>, signal: AbortSignal): Promise<Request> {
    const { base, signer } = this.#options;
    const url = new URL(`.${call.path}`, base);
    for (const [name, value] of Object.entries(call.query ?? {})) {
      if (value !== undefined && value !== null) url.searchParams.set(name, String(value));
    }
    const { method, body } = call;
    const upload = body && "open" in body ? body : null;
    const headers = new Headers(call.headers);
    const { revision } = this.#seen;
    if (revision !== null) headers.set(REVISION_HEADER, revision);
    if (call.signed !== false) {
      if (signer === null) {
        throw new StoreError("unauthenticated", `${nameOf(call)} needs a signature`, {
          hint: "pass identity to createClient",
        });
      }
      const digest = upload?.digest ?? (body && await this.#options.digest(body as Uint8Array));
      const created = new Date(Date.now() + this.#clockOffset);
      const signed = { method, url, ...(digest && { digest }) };
      const fields = await signRequest(signed, signer, { created });
      for (const [name, value] of Object.entries(fields)) headers.set(name, value);
    }
    const init: RequestInit & { duplex: "half" } = {
      method,
      headers,
      signal,
      // The signature is valid for this target only.
      redirect: "manual",
      duplex: "half",
      ...(body && { body: upload?.open() ?? (body as Uint8Array<ArrayBuffer>) }),
    };
    return new Request(url, init);
  }

  /** Adopts the server's time if it rejected ours; returns whether to retry at once. */
  #correctClock(error: StoreError): boolean {
    const answer = answerOf(error);
    if (error.code !== "unauthenticated" || answer?.reason !== "created") return false;
    const time = Date.parse(answer.serverTime ?? "");
    // Otherwise an attacker on the network could get a signature for a future time, and use it then.
    if (!isPrivate(this.#options.base) || Number.isNaN(time)) return false;
    this.#clockOffset = time - Date.now();
    return true;
  }
}
