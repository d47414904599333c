/**
 * Migrations between the backends, in both directions.
 *
 * @module
 */

export { migrateSqliteToKv } from "./to_kv.ts";
export { migrateKvToSqlite } from "./to_sqlite.ts";
