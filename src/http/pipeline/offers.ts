/**
 * Memberships created by others: offers until their receivers accept them, and limited in number.
 *
 * @module
 */

import { mapInTurns } from "../../core/async/in_turns.ts";
import { StoreError } from "../../core/errors.ts";
import type { AddedMember } from "../../core/model.ts";
import type { Call } from "./route.ts";

/** Open offers of one owner to one receiver. */
const MOST_OF_OWNER = 20;
/** Open offers to one receiver. */
const MOST = 1_000;
/** Receivers that are looked up at once. */
const AT_ONCE = 16;

/**
 * Returns the members to add: accepted if the caller may accept for them, else offers.
 *
 * @throws {StoreError} `forbidden` when `accepted: true` is asked for and the caller may not
 */
export async function membersFor<T extends { accepted?: boolean | undefined; endpoint: string }>(
  call: Pick<Call, "mayAccept">,
  given: readonly T[],
): Promise<(T & { accepted: boolean })[]> {
  const members: (T & { accepted: boolean })[] = [];
  for (const member of given) {
    const may = await call.mayAccept(member.endpoint);
    if (member.accepted === true && !may) {
      throw new StoreError(
        "forbidden",
        "accepted must not be true: only an admin or the member itself accepts a membership",
        { field: "accepted" },
      );
    }
    members.push({ ...member, accepted: member.accepted ?? may });
  }
  return members;
}

/**
 * Does `work`, which adds `members` to a room of `owner`, unless a member has too many open offers.
 *
 * @throws {StoreError} `rate_limited`
 */
export async function withOffers<T>(
  { store, inTurn }: Pick<Call, "store" | "inTurn">,
  owner: string,
  members: readonly AddedMember[],
  work: () => Promise<T>,
): Promise<T> {
  const offered = members.filter((it) => it.accepted === false);
  // Each once and sorted, so that requests with the same receivers cannot block each other.
  const receivers = [...new Set(offered.map((it) => it.endpoint))].sort();
  const demandOffer = async (receiver: string) => {
    const { items } = await store.listRoomsForEndpoint(receiver, { accepted: false, limit: MOST });
    if (items.length >= MOST) {
      throw new StoreError(
        "rate_limited",
        `${receiver} has ${MOST} open offers, the maximum`,
      );
    }
    if (items.filter((it) => it.owner === owner).length >= MOST_OF_OWNER) {
      throw new StoreError(
        "rate_limited",
        `${receiver} has ${MOST_OF_OWNER} open offers from this owner, the maximum`,
      );
    }
  };
  const checked = async () => {
    await mapInTurns(receivers, demandOffer, AT_ONCE);
    return await work();
  };
  return await receivers.reduceRight<() => Promise<T>>(
    (inner, receiver) => () => inTurn(`offers ${receiver}`, inner),
    checked,
  )();
}
