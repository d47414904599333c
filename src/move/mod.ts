/**
 * Migrations between the backends, in both directions.
 *
 * @module
 */

export { growStore } from "./live/grow.ts";
export {
  callOffGrow,
  type CallOffGrowOptions,
  settleGrow,
  type SettleGrowOptions,
} from "./live/settle.ts";
export { migrateSqliteToKv } from "./to_kv.ts";
export { migrateKvToSqlite } from "./to_sqlite.ts";
