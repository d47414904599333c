/**
 * Whether a history of concurrent calls can be explained by some order of calls that happen one at a
 * time, each at a moment of its own span.
 *
 * Just-in-time linearization (Wing and Gong 1993; Lowe, "Testing for linearizability", 2017): the calls
 * and returns are walked in the order of time with all configurations that explain what was seen so
 * far: a state, and which of the calls under way have taken effect. Only the return of a call makes it
 * necessary that it has; then others under way may be put before it. Configurations that are equal
 * are kept once. When none is left, no order explains the history up to that return.
 *
 * Linearizability is local: a history is linearizable if it is for each object, so keys are checked
 * one by one.
 *
 * @module
 */

/** A call on one object. */
export interface Operation {
  start: number;
  /** When its outcome was known; of no meaning when it is open. */
  end: number;
  /** Its outcome is not known: it may take effect at any time after `start`, or never. */
  open: boolean;
  /** Of an open one: it can take effect only until `end`. */
  ended?: boolean;
}

/** One object as it behaves when calls come one at a time. */
export interface SequentialModel<S, O extends Operation> {
  /** The object before the first call. */
  readonly initial: S;
  /**
   * The object after the call. `null` when the call cannot have had its recorded outcome here; for an
   * open call, when it has no effect here.
   */
  next(state: S, operation: O): S | null;
  /** Equal for equal states. */
  key(state: S): string;
  /** Whether the call, as it ended, leaves the object as it is in every state. */
  isRead(operation: O): boolean;
  /** Equal for open calls that have the same effect; by default none are. */
  effect?(operation: O): string;
}

/** What was found. */
export type Verdict<O> =
  | { ok: true; configurations: number }
  /** No order explains the calls up to the return of `failed`. */
  | { ok: false; failed: O; upTo: O[] }
  /** Too many configurations: nothing was found out. */
  | { ok: null; configurations: number };

interface Configuration<S> {
  state: S;
  /** A bit for each call under way that has taken effect. */
  done: bigint;
}

interface Event<O> {
  time: number;
  isReturn: boolean;
  index: number;
  operation: O;
}

const LIMIT = 500_000;

/** Looks for an order that explains the history. */
export function linearizable<S, O extends Operation>(
  history: readonly O[],
  model: SequentialModel<S, O>,
  limit = LIMIT,
): Verdict<O> {
  const events = eventsOf(history);
  const underWay: (O | undefined)[] = [];
  const slots = new Map<number, number>();
  const keyOf = ({ state, done }: Configuration<S>) => `${done.toString(36)} ${model.key(state)}`;
  let configurations = new Map<string, Configuration<S>>();
  const first = { state: model.initial, done: 0n };
  configurations.set(keyOf(first), first);
  let work = 0;

  /** Lets reads happen as soon as they fit: that shuts out nothing that may follow. */
  const settle = (it: Configuration<S>): Configuration<S> => {
    let { done } = it;
    for (const [slot, operation] of underWay.entries()) {
      const bit = 1n << BigInt(slot);
      if (operation === undefined || operation.open || done & bit) continue;
      if (model.isRead(operation) && model.next(it.state, operation) !== null) done |= bit;
    }
    return done === it.done ? it : { state: it.state, done };
  };
  const collect = (all: Iterable<Configuration<S>>): Map<string, Configuration<S>> => {
    const into = new Map<string, Configuration<S>>();
    for (const it of all) into.set(keyOf(it), it);
    return into;
  };

  for (const [position, { isReturn, index, operation }] of events.entries()) {
    if (!isReturn) {
      let slot = underWay.findIndex((it) => it === undefined);
      if (slot < 0) slot = underWay.length;
      underWay[slot] = operation;
      slots.set(index, slot);
      if (operation.open) continue;
      configurations = collect([...configurations.values()].map(settle));
      const bit = 1n << BigInt(slot);
      if ([...configurations.values()].every((it) => it.done & bit)) release(index, slot, bit);
      continue;
    }
    const slot = slots.get(index);
    if (slot === undefined) continue;
    const bit = 1n << BigInt(slot);
    const left = new Map<string, Configuration<S>>();
    const seen = new Set(configurations.keys());
    const stack = [...configurations.values()];
    for (let it = stack.pop(); it !== undefined; it = stack.pop()) {
      if (operation.open) left.set(keyOf(it), it);
      else if (it.done & bit) {
        left.set(keyOf(it), it);
        continue;
      }
      if (++work > limit) return { ok: null, configurations: work };
      for (const next of successors(it)) {
        const key = keyOf(next);
        if (seen.has(key)) continue;
        seen.add(key);
        stack.push(next);
      }
    }
    if (left.size === 0) {
      const begun = events.slice(0, position).filter((it) => !it.isReturn);
      return { ok: false, failed: operation, upTo: begun.map((it) => it.operation) };
    }
    configurations = left;
    release(index, slot, bit);
  }
  return { ok: true, configurations: work };

  function release(index: number, slot: number, bit: bigint): void {
    slots.delete(index);
    underWay[slot] = undefined;
    configurations = collect(
      [...configurations.values()].map(({ state, done }) => ({ state, done: done & ~bit })),
    );
  }

  function* successors(it: Configuration<S>): Generator<Configuration<S>> {
    const key = model.key(it.state);
    const effects = new Set<string>();
    for (const [slot, operation] of underWay.entries()) {
      const bit = 1n << BigInt(slot);
      if (operation === undefined || it.done & bit) continue;
      if (operation.open && !operation.ended && model.effect !== undefined) {
        // Of open calls with one effect, any may be the one that happens.
        const effect = model.effect(operation);
        if (effects.has(effect)) continue;
        effects.add(effect);
      }
      const state = model.next(it.state, operation);
      if (state === null || (operation.open && model.key(state) === key)) continue;
      yield settle({ state, done: it.done | bit });
    }
  }
}

function eventsOf<O extends Operation>(history: readonly O[]): Event<O>[] {
  const events: Event<O>[] = [];
  for (const [index, operation] of history.entries()) {
    events.push({ time: operation.start, isReturn: false, index, operation });
    if (!operation.open || operation.ended) {
      events.push({ time: operation.end, isReturn: true, index, operation });
    }
  }
  // At one moment calls come first: then the two overlap, which excuses more.
  return events.sort((a, b) => a.time - b.time || Number(a.isReturn) - Number(b.isReturn));
}

/**
 * The calls that are needed to show that a history is not linearizable. A call can be left out when the
 * rest shows it whether or not that call took effect.
 */
export function shortest<S, O extends Operation>(
  history: readonly O[],
  model: SequentialModel<S, O>,
): O[] {
  const verdict = linearizable(history, model);
  if (verdict.ok !== false) return [];
  const kept = new Set(verdict.upTo);
  const dropped = new Map<O, O>();
  const shows = (optional: O) => {
    const all = [...kept].map((it) => it === optional ? weakened(it) : it);
    return linearizable([...all, ...dropped.values()], model, 20_000).ok === false;
  };
  // Those far back first: what shows it is mostly near the end.
  for (const it of verdict.upTo) {
    if (!shows(it)) continue;
    kept.delete(it);
    if (!model.isRead(it)) dropped.set(it, weakened(it));
  }
  return [...kept];
}

/** The same call, which may or may not have taken effect. */
function weakened<O extends Operation>(it: O): O {
  return { ...it, open: true, ended: !it.open || it.ended === true };
}
