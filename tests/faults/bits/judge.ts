/**
 * Whether a store lets anybody in who must not be, and when the damage below it is noticed.
 *
 * @module
 */

import { isStoreError, type Store, type StoreError } from "../../../mod.ts";
import { type Followed, openFollowed } from "../../../src/follower/open.ts";
import { type Content, contentOf, differences, type World } from "./world.ts";

/** When a damage was noticed. */
export type Noticed =
  /** Before the first yes. */
  | "before"
  /** Before the first yes by a server that does not answer. */
  | "closed"
  /** Within a minute. */
  | "minute"
  /** Nothing that can be read changed. */
  | "nothing"
  | "MISSED";

/** What came of a trial. */
export interface Outcome {
  /** When it was noticed. */
  noticed: Noticed;
  /** How many were let in who must not be. */
  letIn: number;
  /** How many keys changed; `null` where they cannot be read. */
  changed: number | null;
  /** What was found, or what the damage was. */
  detail: string;
}

const MINUTE = 60_000;

/** Asks about everybody who must not be let in, and a few others, again and again. */
export class Asking {
  /** Who was let in. */
  readonly letIn = new Set<string>();
  /** Whether anybody was. */
  yes = false;
  #ended = false;
  readonly #done: Promise<void>;

  constructor(store: Store, bad: string[], good: string[]) {
    this.#done = this.#ask(store, bad, good);
  }

  async #ask(store: Store, bad: string[], good: string[]): Promise<void> {
    while (!this.#ended) {
      await Promise.all([...bad, ...good].map(async (signPub, i) => {
        if (!await store.isAuthorized(signPub)) return;
        this.yes = true;
        if (i < bad.length) this.letIn.add(signPub);
      }));
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  /** Ends it. */
  async end(): Promise<void> {
    this.#ended = true;
    await this.#done;
  }
}

/** Those to ask about: the bad ones whose records changed, and some others. */
export function sample(world: World, changed: string[] | null, most = 150) {
  const revived = new Set(changed?.map((key) => key.replace(/^users\./, "")) ?? []);
  const bad = world.bad.filter((it) => revived.has(it)).slice(0, most);
  return { bad: [...world.bad.slice(-most), ...bad], good: world.good.slice(0, 20) };
}

/** The keys that changed; `null` when the stream cannot be read. */
export async function changedKeys(
  servers: string,
  before: Content,
  server?: string,
): Promise<string[] | null> {
  try {
    return differences(before, await contentOf(servers, server));
  } catch {
    return null;
  }
}

/** Opens a store on what is left, and looks what comes of it. */
export async function judge(
  world: World,
  servers: string,
  follower: string,
  readFirst: boolean,
): Promise<Outcome> {
  let changed = readFirst ? await changedKeys(servers, world.content) : null;
  const { promise: alarmed, resolve } = Promise.withResolvers<StoreError>();
  let opened: Followed;
  try {
    opened = await openFollowed({ servers, follower, onAlarm: resolve, bootstrapTimeout: 10_000 });
  } catch (error) {
    if (!isStoreError(error)) throw error;
    const noticed = error.code === "corrupt" ? "before" : "closed";
    return { noticed, letIn: 0, changed: changed?.length ?? null, detail: error.message };
  }
  await using store = opened.store;
  const { bad, good } = sample(world, changed);
  const asking = new Asking(store, bad, good);
  changed ??= await changedKeys(servers, world.content);
  const result = await settle(opened, asking, alarmed, changed);
  await asking.end();
  return { ...result, letIn: asking.letIn.size, changed: changed?.length ?? null };
}

/** Waits for the alarm, where something changed for a minute. */
export async function settle(
  { follower }: Followed,
  asking: Asking,
  alarmed: Promise<StoreError>,
  changed: string[] | null,
): Promise<{ noticed: Noticed; detail: string }> {
  const pause = changed?.length === 0 ? 1000 : MINUTE;
  const timer = Promise.withResolvers<null>();
  const timeout = setTimeout(() => timer.resolve(null), pause);
  const alarm = await Promise.race([alarmed, timer.promise]);
  clearTimeout(timeout);
  if (alarm !== null) return { noticed: asking.yes ? "minute" : "before", detail: alarm.message };
  if (changed?.length === 0) return { noticed: "nothing", detail: "" };
  const { failure } = follower.state();
  const detail = `${changed?.slice(0, 3).join(" ") ?? "unreadable"} ${failure?.message ?? ""}`;
  return { noticed: asking.yes ? "MISSED" : "closed", detail };
}
