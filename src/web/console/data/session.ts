/**
 * The signed-in user, and what all views share: in memory only; `shared/tab.ts` may keep the keys.
 *
 * @module
 */

import { createContext } from "preact";
import { useContext, useState } from "preact/hooks";
import type { User } from "../../../core/model.ts";
import type { Api } from "./api.ts";
import { useNow } from "../hooks.ts";
import type { Live } from "./live.ts";
import { type Names, useNameOf } from "../../shared/names.ts";

/** A session. */
export interface Session {
  /** Calls the server as the signed-in user. */
  readonly api: Api;
  /** Who that is. */
  readonly me: User;
  /** Hears of changes. */
  readonly live: Live;
  /** Knows users' names. */
  readonly names: Names;
  /** What views keep while others are shown, such as a search. */
  readonly kept: Map<string, unknown>;
  /** Says that something was done. */
  readonly say: (text: string) => void;
}

/** The session, for the views in it. */
export const SessionContext = createContext<Session | null>(null);

/** The session. */
export function useSession(): Session {
  return useContext(SessionContext)!;
}

/** Returns the time by the server's clock, updated every `step` milliseconds. */
export function useServerNow(step: number): number {
  const { api } = useSession();
  return useNow(step) + api.clockOffset();
}

/** State that outlives its view, for as long as the session. */
export function useKept<T>(name: string, initial: T): [T, (value: T) => void] {
  const { kept } = useSession();
  const [value, set] = useState<T>(kept.has(name) ? kept.get(name) as T : initial);
  return [value, (it) => {
    kept.set(name, it);
    set(it);
  }];
}

/** Returns the name of a user: null if there is none, undefined while it is being looked up. */
export function useName(signPub: string): string | null | undefined {
  return useNameOf(signPub, useSession().names);
}
