/**
 * People one shares a room with.
 *
 * @module
 */

import type { NewMember } from "../../../core/model.ts";
import type { Talk } from "./talk.ts";

/** Most people that are shown, and most memberships that are looked at for them. */
const MOST_SHOWN = 20;
const MOST_READ = 20_000;

/** Some of the people found, and how many there are. */
export interface KnownPeople {
  shown: NewMember[];
  total: number;
}

/**
 * Finds people in other rooms who are not in this one, by a part of the name or the first digits of the
 * key; each with the keys of that membership.
 */
export function knownPeople(
  talks: readonly Pick<Talk, "members">[],
  { members: here }: Pick<Talk, "members">,
  nameOf: (endpoint: string) => string,
  query: string,
): KnownPeople {
  const out = new Set(here.map((it) => it.endpoint));
  const text = query.trim().toLowerCase();
  const digits = text.replaceAll(" ", "");
  const shown: NewMember[] = [];
  let [total, read] = [0, 0];
  for (const { members } of talks) {
    for (const { endpoint, kexPub, status, handle } of members) {
      if (++read > MOST_READ) return { shown, total };
      if (out.has(endpoint) || status !== "active") continue;
      out.add(endpoint);
      const name = (handle ?? nameOf(endpoint)).toLowerCase();
      if (!name.includes(text) && !endpoint.startsWith(digits)) continue;
      total++;
      if (shown.length < MOST_SHOWN) shown.push({ endpoint, kexPub });
    }
  }
  return { shown, total };
}
