/**
 * The move between the backends, both ways.
 *
 * @module
 */

export { migrateSqliteToKv } from "./to_kv.ts";
export { migrateKvToSqlite } from "./to_sqlite.ts";
