/**
 * What the conformance tests run in: an isolated environment, a clock to turn, a test function the
 * caller brings.
 *
 * @module
 */

import type { Store } from "../../src/core/store.ts";

/** One empty place to keep a control plane, isolated from every other. */
export interface Environment {
  /** Opens the environment's data: the same data each time, several handles at once. */
  open(options?: { clock?: () => Date }): Promise<Store>;
  /** Removes everything. All handles are closed by then. */
  dispose(): Promise<void>;
}

/** What a backend can do. A test that needs what is declared `false` is skipped, with the reason. */
export interface Capabilities {
  /** What was written is there when the store was closed and opened again. */
  reopen: boolean;
  /** Several handles may work on the same data at once. */
  multipleHandles: boolean;
  /** A restore that fails leaves what was there; without it the store may be left `in_progress`. */
  atomicRestore: boolean;
  /**
   * The backend sees a caller's values as they are. Over a wire values of a wrong type become others
   * or are never sent, and an invite's maker is who asks.
   */
  anyValue: boolean;
  /** The backend keeps a history. */
  history: boolean;
}

/** Why a test that needs a capability is skipped without it. */
export const SKIP_REASONS: Readonly<Record<keyof Capabilities, string>> = Object.freeze({
  reopen: "what this backend holds ends with its handle",
  multipleHandles: "this backend has one handle at a time",
  atomicRestore: "a failed restore leaves this backend marked as in progress",
  history: "this backend keeps no history",
  anyValue: "what crosses a wire has the wire's types",
});

/** Registers one test: `Deno.test`, or `test` of `node:test`. */
export type TestFunction = (name: string, fn: () => Promise<void>) => unknown;

/** What {@link runConformance} takes. */
export interface ConformanceOptions {
  /** Name of the backend, put before each test's name. */
  name: string;
  /** Registers a test. */
  test: TestFunction;
  /** Makes an empty environment; called once for each test. */
  factory: () => Promise<Environment>;
  /** What the backend cannot do. Default: it can do everything. */
  capabilities?: Partial<Capabilities>;
  /** Registers a test that is skipped. Default: a test that passes, with the reason in its name. */
  skip?: (name: string, reason: string) => unknown;
}

/** A clock that stands still until it is turned. */
export interface TestClock {
  /** The time now, milliseconds since 1970. */
  now: number;
  /** The time now as records hold it. */
  iso(): string;
}

/** What a test gets. */
export interface Scene {
  /** A handle on an empty store, closed by the harness. */
  store: Store;
  /** Opens one more handle on the same data, closed by the harness. */
  open(): Promise<Store>;
  /** Closes all handles and opens a new one. */
  reopen(): Promise<Store>;
  /** The time all handles go by. */
  clock: TestClock;
  /** What the backend can do. */
  capabilities: Capabilities;
}

/** The function that the files of this suite register their tests with. */
export type It = (
  promise: string,
  fn: (scene: Scene) => Promise<void>,
  needs?: keyof Capabilities,
) => void;

const ALL: Capabilities = {
  reopen: true,
  multipleHandles: true,
  atomicRestore: true,
  anyValue: true,
  history: true,
};

/** Makes the {@link It} of one backend. */
export function suite(options: ConformanceOptions): It {
  const { name, test, factory } = options;
  const capabilities = { ...ALL, ...options.capabilities };
  const skip = options.skip ??
    ((name, reason) => test(`${name} (skipped: ${reason})`, () => Promise.resolve()));
  return (promise, fn, needs) => {
    const full = `${name}: ${promise}`;
    if (needs !== undefined && !capabilities[needs]) skip(full, SKIP_REASONS[needs]);
    else test(full, () => play(factory, capabilities, fn));
  };
}

async function play(
  factory: () => Promise<Environment>,
  capabilities: Capabilities,
  fn: (scene: Scene) => Promise<void>,
): Promise<void> {
  const environment = await factory();
  const handles: Store[] = [];
  const clock: TestClock = {
    now: Date.parse("2026-03-04T05:06:07.089Z"),
    iso: () => new Date(clock.now).toISOString(),
  };
  const open = async () => {
    const store = await environment.open({ clock: () => new Date(clock.now) });
    handles.push(store);
    return store;
  };
  const closeAll = async () => {
    await Promise.all(handles.splice(0).map((it) => it.close()));
  };
  const attempt = async () => {
    const store = await open();
    const reopen = async () => {
      await closeAll();
      return await open();
    };
    await fn({ store, open, reopen, clock, capabilities });
  };
  const [ended] = await Promise.allSettled([attempt()]);
  const [cleaned] = await Promise.allSettled([closeAll().then(() => environment.dispose())]);
  // What the test found says more than what the clean-up after it ran into.
  for (const it of [ended, cleaned]) if (it.status === "rejected") throw it.reason;
}

/** The scene's handle and more on the same data, as many as asked for where the backend can. */
export async function handles(scene: Scene, count = 4): Promise<Store[]> {
  const all = [scene.store];
  while (scene.capabilities.multipleHandles && all.length < count) all.push(await scene.open());
  return all;
}
