/**
 * The conformance suite: what every backend of the store promises. For people who write a backend.
 *
 * It uses `node:` built-ins only and runs under any test runner whose test function takes a name
 * and an async function. It needs no permission in Deno but those of the backend.
 *
 * @example Run it for SQLite under Deno
 * ```ts ignore
 * import { runConformance } from "@unibus/membership/testing";
 * import { openSqlite } from "@unibus/membership";
 *
 * runConformance({
 *   name: "sqlite",
 *   test: Deno.test,
 *   factory: async () => {
 *     const folder = await Deno.makeTempDir();
 *     return {
 *       open: (options) => Promise.resolve(openSqlite(`${folder}/unibus.db`, options)),
 *       dispose: () => Deno.remove(folder, { recursive: true }),
 *     };
 *   },
 * });
 * ```
 *
 * @module
 */

import { access } from "./promises/access.ts";
import { bigRooms } from "./promises/big_rooms.ts";
import { concurrency } from "./promises/concurrency.ts";
import { contention } from "./promises/contention.ts";
import { handovers } from "./records/handovers.ts";
import { health } from "./promises/health.ts";
import { history } from "./promises/history.ts";
import { invites } from "./records/invites.ts";
import { keys } from "./records/keys.ts";
import { lifecycle } from "./promises/lifecycle.ts";
import { lists } from "./promises/lists.ts";
import { members } from "./records/members.ts";
import { offers } from "./records/offers.ts";
import { owners } from "./records/owners.ts";
import { records } from "./promises/records.ts";
import { restore } from "./promises/restore.ts";
import { rooms } from "./records/rooms.ts";
import { type ConformanceOptions, suite } from "./suite.ts";
import { users } from "./records/users.ts";
import { waiting } from "./records/waiting.ts";
import { validation } from "./promises/validation.ts";

export type * from "../../src/core/model.ts";
export type { RestoreOptions, Store } from "../../src/core/store.ts";
export { type InvariantOptions, invariantProblems, recordProblems } from "./kit/invariants.ts";
export type { Capabilities, ConformanceOptions, Environment, TestFunction } from "./suite.ts";

/**
 * Registers every test of the suite for one backend.
 *
 * @param options Its name, how to register a test, how to make an empty environment, and what the
 *   backend cannot do
 */
export function runConformance(options: ConformanceOptions): void {
  const it = suite(options);
  const parts = [
    rooms,
    members,
    offers,
    owners,
    handovers,
    keys,
    users,
    invites,
    waiting,
    lists,
    validation,
    lifecycle,
    records,
  ];
  const more = [history, restore, access, health, concurrency, contention, bigRooms];
  for (const part of [...parts, ...more]) part(it);
}
