/**
 * Signs the head of the history, so that a later change of what is before it is noticed.
 *
 * @module
 */

import { isStoreError } from "../../../src/core/errors.ts";
import { type ChainEnd, sourceOf } from "../../../src/core/history/source.ts";
import type { Store } from "../../../src/core/store.ts";
import { switchOf } from "../../../src/core/store/switching.ts";
import { continueChain, signedEnd } from "../../../src/history/continue.ts";
import { nodeName, signHead } from "../../../src/history/heads.ts";
import { type NkeyPair, signPubOf } from "../../../src/keys/nkey.ts";
import { host } from "../../store/actor.ts";
import type { Bus } from "../bus.ts";
import type { Surroundings } from "../parts.ts";

const INTERVAL_MS = 60_000;
/** The name that a nats-server gives itself. */
const NO_NAME = /^N[A-Z2-7]{55}$/;

/** Signs the head once a minute if it has changed, and when the server stops. */
export function startSigning(
  around: Pick<Surroundings, "settings" | "log" | "undo">,
  bus: Pick<Bus, "serviceKey" | "node">,
  store: Store,
  interval: number = INTERVAL_MS,
): void {
  const { settings, log, undo } = around;
  const { serviceKey: key } = bus;
  if (key === null || !settings.history) return;
  const signer = new Signer(store, key, () => nodeOf(around, bus));
  let told = "";
  const sign = async () => {
    try {
      await signer.sign();
      told = "";
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (reason === told) return;
      told = reason;
      // Corrupt: the follower has another entry than the bucket.
      const isChanged = isStoreError(error, "mismatch") || isStoreError(error, "corrupt");
      log(isChanged ? "error" : "warn", isChanged ? "history.changed" : "history.sign_failed", {
        reason: error,
        ...isStoreError(error) && error.hint !== undefined && { hint: error.hint },
      });
    }
  };
  let round = sign();
  const timer = setInterval(() => round = round.then(sign), interval);
  undo.add("the head of the history", () => {
    clearInterval(timer);
    return round.then(sign);
  });
}

function nodeOf({ settings }: Pick<Surroundings, "settings">, { node }: Pick<Bus, "node">): string {
  const own = node !== null && !NO_NAME.test(node) ? node : null;
  return own ?? settings.serverName ?? nodeName(host());
}

class Signer {
  readonly #store: Store;
  readonly #key: NkeyPair;
  readonly #node: () => string;
  /** What was signed last. */
  #end: ChainEnd | null = null;

  constructor(store: Store, key: NkeyPair, node: () => string) {
    this.#store = store;
    this.#key = key;
    this.#node = node;
  }

  async sign(): Promise<void> {
    const source = sourceOf(switchOf(this.#store).current);
    const node = this.#node();
    const own = signPubOf(this.#key.publicKey)!;
    const former = this.#end ??
      (await source.heads()).find((it) => it.node === node && it.key === own) ?? null;
    const end = this.#end === null
      ? await signedEnd(source, own)
      : await continueChain(source, this.#end);
    if (end.revision !== null && end.head !== former?.head) {
      const at = new Date().toISOString();
      await source.sign(signHead(end, { node, at, key: this.#key }));
    }
    this.#end = end;
  }
}
