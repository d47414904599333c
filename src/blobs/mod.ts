/**
 * Blobs: bytes named by their SHA-256, on disk or in the JetStream object store.
 *
 * @module
 */

export type { Connection } from "../nats/connection/connect.ts";
export { copyBlobs, type CopyBlobsOptions, type CopyBlobsReport } from "./copy.ts";
export { type DiskBlobsOptions, openDiskBlobs } from "./disk/disk.ts";
export { type ObjectBlobsOptions, openObjectBlobs } from "./objects/objects.ts";
export type {
  BlobHealth,
  BlobHolders,
  BlobInfo,
  BlobRange,
  BlobStore,
  OpenedBlob,
  PutBlobOptions,
  StoredBlob,
} from "./types.ts";
