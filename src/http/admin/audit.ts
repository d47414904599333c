/**
 * Audit lines of the log: who changed a user, an invite or the owner of a room, or downloaded a snapshot,
 * and with what outcome.
 *
 * @module
 */

import { isStoreError } from "../../core/errors.ts";
import type { Handover } from "../../core/model.ts";
import { inviteId } from "../../core/store.ts";
import type { ControlPlaneEvent } from "../events.ts";
import type { Call, Route } from "../pipeline/route.ts";

/** What of a response or a body is used. */
interface Part {
  role?: string;
  invite?: { id: string; role: string };
}

/** Ids and public keys, never a token. */
type Subject = {
  user?: string | null;
  role?: string | undefined;
  invite?: string | undefined;
  room?: string;
};

type Body = { token: string; signPub: string; endpoint: string; role: string };

const ofUser = ({ params }: Call) => ({ user: params.signPub!.toLowerCase() });
const bodyOf = ({ body }: Call) => body as Body;

/** The routes that are audited, and what a line names. */
const AUDITED: Readonly<Record<string, (call: Call, answer?: Part) => Subject>> = {
  register: (call, answer) => ({
    ...{ user: call.endpoint, role: answer?.role },
    invite: inviteId(bodyOf(call).token),
  }),
  addUser: (call, answer) => ({ user: bodyOf(call).signPub, role: answer?.role }),
  revokeUser: ofUser,
  restoreUser: ofUser,
  setUserRole: (call) => ({ ...ofUser(call), role: bodyOf(call).role }),
  deleteUser: ofUser,
  createInvite: (_, answer) => ({ invite: answer?.invite?.id, role: answer?.invite?.role }),
  cancelInvite: ({ params }, answer) => ({
    invite: params.id!.toLowerCase(),
    role: answer?.role,
  }),
  snapshot: () => ({}),
  deleteRoom: ({ params }) => ({ room: params.id! }),
  handOverRoom: ({ params, body }) => ({
    room: params.id!,
    user: (body as { handover: Handover }).handover.to,
  }),
  changeRoomOwner: (call) => ({ room: call.params.id!, user: bodyOf(call).endpoint }),
};

/** Refusals that are not logged: anyone can cause any number of them. */
const UNTOLD: ReadonlySet<string> = new Set([
  "invalid",
  "unauthenticated",
  "forbidden",
  "not_found",
  "rate_limited",
  "too_large",
]);

/** Does a route's work and reports what it changed. */
export async function audited(
  tell: (event: ControlPlaneEvent) => void,
  route: Route,
  call: Call,
  proved: boolean,
  work: () => Promise<unknown>,
): Promise<unknown> {
  if (!Object.hasOwn(AUDITED, route.id)) return await work();
  const note = (outcome: string, answer?: Part) => {
    const about = Object.entries(AUDITED[route.id]!(call, answer));
    const known = Object.fromEntries(about.filter(([, value]) => value !== undefined));
    const by = { action: route.id, by: call.endpoint, proved };
    tell({ level: "info", event: "audit", ...by, ...known, outcome });
  };
  try {
    const answer = await work();
    note("done", answer as Part | undefined);
    return answer;
  } catch (error) {
    const code = isStoreError(error) ? error.code : "failed";
    if (!UNTOLD.has(code)) note(code);
    throw error;
  }
}
