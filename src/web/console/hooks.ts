/**
 * Reading from the server as components want it.
 *
 * @module
 */

import type { RefObject } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { type Task, useTaskOf } from "../shared/ui/task.ts";
import { type Failure, failureOf, isAborted } from "./data/failure.ts";
import type { Live, LiveState } from "./data/live.ts";

/** Something that is read. */
export interface Loaded<T> {
  /** What came last; stays while it is read again, and while something else is read. */
  readonly data: T | null;
  /** The `what` that it came of. */
  readonly of: string;
  /** Why the last reading failed. */
  readonly failure: Failure | null;
  /** Whether it is being read. */
  readonly loading: boolean;
  /** Reads it again. */
  reload(): void;
}

/**
 * Reads something, and again when `what` or `revision` changes. When `what` changes it is something
 * else: an answer to an older question never replaces a newer one. When `revision` changes, what is being
 * read is first read to its end: a server that is slow, or hangs, is told however often it changes.
 */
export function useLoad<T>(
  read: (signal: AbortSignal) => Promise<T>,
  what: string,
  revision = 0,
): Loaded<T> {
  const [turn, setTurn] = useState(0);
  const [state, setState] = useState<{ of: string; data: T | null; failure: Failure | null }>({
    of: what,
    data: null,
    failure: null,
  });
  const [loading, setLoading] = useState(true);
  const asked = useRef(revision);
  useEffect(() => {
    const stop = new AbortController();
    asked.current = revision;
    setLoading(true);
    read(stop.signal).then(
      (data) => {
        if (stop.signal.aborted) return;
        setState({ of: what, data, failure: null });
        setLoading(false);
      },
      (error) => {
        if (stop.signal.aborted || isAborted(error)) return;
        setState((old) => ({
          of: what,
          data: old.of === what ? old.data : null,
          failure: failureOf(error),
        }));
        setLoading(false);
      },
    );
    return () => stop.abort();
  }, [what, turn]);
  const reload = (): void => setTurn((it) => it + 1);
  useEffect(() => {
    if (!loading && asked.current !== revision) reload();
  }, [revision, loading]);
  return { ...state, loading, reload };
}

/** Keeps whether something is being done, and why it failed. */
export function useTask(): Task<Failure> {
  return useTaskOf((error) => isAborted(error) ? null : failureOf(error));
}

/** The state of the live connection. */
export function useLive(live: Live): LiveState {
  const [state, setState] = useState(live.state);
  useEffect(() => {
    setState(live.state);
    return live.subscribe(() => setState(live.state));
  }, [live]);
  return state;
}

/** Returns the time, updated every `step` milliseconds. */
export function useNow(step: number): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), step);
    return () => clearInterval(timer);
  }, [step]);
  return now;
}

/** Returns a reference for an element, and its width in pixels; 0 until it is known. */
export function useWidth<T extends Element>(): [RefObject<T>, number] {
  const ref = useRef<T>(null) as RefObject<T>;
  const [width, set] = useState(0);
  useLayoutEffect(() => {
    const look = (): void => set(Math.floor(ref.current!.getBoundingClientRect().width));
    look();
    const observer = new ResizeObserver(look);
    observer.observe(ref.current!);
    return () => observer.disconnect();
  }, []);
  return [ref, width];
}

/** A value that has not changed for `ms`. */
export function useSettled<T>(value: T, ms: number): T {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), ms);
    return () => clearTimeout(timer);
  }, [value, ms]);
  return settled;
}

/** A value that is followed at most every `ms`. */
export function useThrottled<T>(value: T, ms: number): T {
  const [shown, show] = useState(value);
  const last = useRef(0);
  useEffect(() => {
    const timer = setTimeout(() => {
      last.current = Date.now();
      show(value);
    }, Math.max(0, last.current + ms - Date.now()));
    return () => clearTimeout(timer);
  }, [value, ms]);
  return shown;
}

/** Counts up every `ms` while the page is seen. */
export function useTicks(ms: number): number {
  const [ticks, setTicks] = useState(0);
  useEffect(() => {
    const tick = (): void => {
      if (document.visibilityState === "visible") setTicks((it) => it + 1);
    };
    const timer = setInterval(tick, ms);
    document.addEventListener("visibilitychange", tick);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", tick);
    };
  }, [ms]);
  return ticks;
}
