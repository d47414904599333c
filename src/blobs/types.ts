/**
 * The interface of blob stores.
 *
 * @module
 */

/** The users who stored a blob. Several may have stored the same bytes. */
export interface BlobHolders {
  /** Their signing keys, 64 hex digits in lower case, sorted. */
  readonly owners: readonly string[];
  /**
   * Whether it was also stored without an owner, as all blobs of version 0.1 were. Such a blob stays when
   * its owners delete it.
   */
  readonly unowned: boolean;
}

/** Options of {@link BlobStore.put}. */
export interface PutBlobOptions {
  /** Maximum size in bytes; a larger blob is `too_large`. */
  maxBytes: number;
  /** The expected SHA-256, 64 hex digits; otherwise `invalid`, field `content-digest`. */
  expected?: string;
  /** Who stores it. Default: nobody is named. */
  holders?: BlobHolders;
  /**
   * Maximum number of bytes of each owner; more is `quota_exceeded`. A blob counts as at least 4 KiB, and
   * in full for each of its owners.
   */
  quota?: number;
  /** Aborts it: it rejects with `aborted` and stores nothing. */
  signal?: AbortSignal;
}

/** A stored blob. */
export interface BlobInfo {
  /** The SHA-256 of the bytes, 64 hex digits, lower case. */
  id: string;
  /** Size in bytes. */
  size: number;
}

/** The result of {@link BlobStore.put}. */
export interface StoredBlob extends BlobInfo {
  /** Whether this call stored it; `false` if the same bytes already were. */
  created: boolean;
}

/** A range of a blob's bytes. */
export interface BlobRange {
  /** The first byte, from 0. */
  start: number;
  /** The last byte (inclusive); limited to the end of the blob. */
  end: number;
}

/** A blob to read, or a range of one. */
export interface OpenedBlob extends BlobInfo {
  /** The requested bytes, opened at the first read. `size` is the size of the whole blob. */
  body: ReadableStream<Uint8Array<ArrayBuffer>>;
}

/** Health of a blob store. */
export interface BlobHealth {
  /** Whether it is working. */
  ok: boolean;
  /** What was found, as text for people. */
  detail: string;
}

/**
 * Stores bytes by their SHA-256.
 *
 * A blob is stored completely or not at all, even if a writer is killed or two write the same one. The
 * same bytes are stored once. Bytes are verified when they are read.
 *
 * Methods reject with a `StoreError`: `invalid` (field `id`, `range`, `maxBytes`, `expected` or
 * `content-digest`), `too_large`, `corrupt` (the SHA-256 of stored bytes is not their id), `unavailable`
 * (disk full, no server), `quota_exceeded`, `aborted`, `closed`.
 */
export interface BlobStore extends AsyncDisposable {
  /** Stores the bytes of `source` after reading all of them. Errors of `source` are rethrown. */
  put(source: AsyncIterable<Uint8Array>, options: PutBlobOptions): Promise<StoredBlob>;
  /** Returns a blob's size, or `null` if it does not exist. */
  stat(id: string): Promise<BlobInfo | null>;
  /**
   * Opens a blob, or returns `null` if it does not exist. All bytes of a range are verified before they
   * are returned. A whole blob is verified while it is read: if its SHA-256 is not its id, the stream
   * fails with `corrupt` before the last bytes; a blob of up to 1 MiB is verified before the first byte.
   * A range that starts after the end is `invalid`, field `range`. The first range of a large blob reads
   * all of it once, to verify it.
   */
  get(id: string, range?: BlobRange): Promise<OpenedBlob | null>;
  /**
   * Iterates over all blobs. One that is stored or removed in the meantime may be included or not. Slow
   * if there are many.
   */
  list(): AsyncIterable<BlobInfo>;
  /** Returns who stored a blob, or `null` if it does not exist. */
  holders(id: string): Promise<BlobHolders | null>;
  /** Adds holders to a blob, without a quota; returns `false` if it does not exist. */
  addHolders(id: string, holders: BlobHolders): Promise<boolean>;
  /**
   * Removes `owner` from a blob's holders, and the bytes if no holder is left. Without an owner, removes
   * the blob with all holders.
   *
   * @returns Whether the bytes were removed
   * @throws {StoreError} `not_found`; `forbidden`: the owner has not stored it
   */
  delete(id: string, owner?: string): Promise<boolean>;
  /** Returns the bytes that count for an owner's quota. May be a minute old. */
  usage(owner: string): Promise<number>;
  /** Checks whether the store is working. Never rejects. */
  health(): Promise<BlobHealth>;
  /** Closes the store. Operations in progress fail with `closed`. */
  close(): Promise<void>;
}
