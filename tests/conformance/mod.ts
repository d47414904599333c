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

import { access } from "./access.ts";
import { bigRooms } from "./big_rooms.ts";
import { concurrency } from "./concurrency.ts";
import { contention } from "./contention.ts";
import { health } from "./health.ts";
import { invites } from "./invites.ts";
import { keys } from "./keys.ts";
import { lifecycle } from "./lifecycle.ts";
import { lists } from "./lists.ts";
import { members } from "./members.ts";
import { offers } from "./offers.ts";
import { owners } from "./owners.ts";
import { records } from "./records.ts";
import { restore } from "./restore.ts";
import { rooms } from "./rooms.ts";
import { type ConformanceOptions, suite } from "./suite.ts";
import { users } from "./users.ts";
import { validation } from "./validation.ts";

export type * from "../../src/model.ts";
export type { RestoreOptions, Store } from "../../src/store.ts";
export { type InvariantOptions, invariantProblems, recordProblems } from "./invariants.ts";
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
    keys,
    users,
    invites,
    lists,
    validation,
    lifecycle,
    records,
  ];
  const more = [restore, access, health, concurrency, contention, bigRooms];
  for (const part of [...parts, ...more]) part(it);
}
