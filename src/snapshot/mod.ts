/**
 * Snapshots: all records of a control plane in one file, independent of the backend.
 *
 * @module
 */

export { type Difference, diffRecords, type Records } from "./diff.ts";
export {
  decodeRecord,
  encodeRecord,
  SNAPSHOT_FORMAT,
  SNAPSHOT_VERSION,
  SnapshotDigest,
  type SnapshotHistory,
  type SnapshotSummary,
} from "./format.ts";
export type { SnapshotSource } from "./lines.ts";
export { type ImportOptions, importSnapshot, readSnapshot, verifySnapshot } from "./read.ts";
export { type ExportOptions, exportSnapshot } from "./write.ts";
