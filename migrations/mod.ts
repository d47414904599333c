/**
 * The SQLite schema, one step a file. Steps are only ever added: a step that was released is never
 * edited, because files record its checksum.
 *
 * @module
 */

import { migration as rooms } from "./001_rooms.ts";
import { migration as users } from "./002_users.ts";
import { migration as invites } from "./003_invites.ts";
import { migration as accepted } from "./004_accepted.ts";
import { migration as recordChecks } from "./005_record_checks.ts";
import { migration as roles } from "./006_roles.ts";
import { migration as search } from "./007_search.ts";
import { migration as names } from "./008_names.ts";
import { migration as journey } from "./009_journey.ts";
import { migration as history } from "./010_history.ts";
import { migration as invited } from "./011_invited.ts";
import { migration as handovers } from "./012_handovers.ts";

/** One step of the schema. */
export interface Migration {
  /** Its number; steps count up from 1 without a gap. */
  readonly version: number;
  /** Its name, as in the file name. */
  readonly name: string;
  /** The statements, run in one transaction with all other steps a file lacks. */
  readonly sql: string;
}

/** Every step, in order. */
export const MIGRATIONS: readonly Migration[] = [
  rooms,
  users,
  invites,
  accepted,
  recordChecks,
  roles,
  search,
  names,
  journey,
  history,
  invited,
  handovers,
];
