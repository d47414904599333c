/**
 * What a store of blobs promises.
 *
 * @module
 */

/** Who put a blob: several may have put the same bytes. */
export interface BlobHolders {
  /** Their signing keys, 64 hex digits, in lower case and in order. */
  readonly owners: readonly string[];
  /**
   * Whether it was also put by somebody who was not named, as all blobs of version 0.1 were. Such a blob
   * stays when its owners delete it.
   */
  readonly unowned: boolean;
}

/** How a blob is taken in. */
export interface PutBlobOptions {
  /** The most bytes it may have. One more is `too_large`. */
  maxBytes: number;
  /** The SHA-256 the bytes must have, 64 hex digits; another is `invalid`, field `content-digest`. */
  expected?: string;
  /** Who puts it; somebody who is not named by default. */
  holders?: BlobHolders;
  /**
   * The most bytes that each of the owners may keep; above it is `quota_exceeded`. A blob counts as
   * 4 KiB at least, and in full for each of its owners.
   */
  quota?: number;
  /** Ends it; it then rejects with `aborted` and nothing is stored. */
  signal?: AbortSignal;
}

/** What {@link BlobStore.put} stored. */
export interface StoredBlob {
  /** The SHA-256 of the bytes, 64 hex digits, lower case. */
  id: string;
  /** How many bytes. */
  size: number;
  /** Whether this call made it; false when the same bytes were there already. */
  created: boolean;
}

/** What is known of a blob. */
export interface BlobInfo {
  /** The SHA-256 of the bytes, 64 hex digits, lower case. */
  id: string;
  /** How many bytes. */
  size: number;
}

/** A part of a blob. */
export interface BlobRange {
  /** The first byte, from 0. */
  start: number;
  /** The last byte, itself included; beyond the end means the end. */
  end: number;
}

/** A blob, or a part of one, to be read. */
export interface OpenedBlob extends BlobInfo {
  /** The bytes asked for; nothing is held open before the first read. `size` is the whole blob's. */
  body: ReadableStream<Uint8Array<ArrayBuffer>>;
}

/** Whether a store of blobs can work. */
export interface BlobHealth {
  /** Whether it can. */
  ok: boolean;
  /** Why, for people. */
  detail: string;
}

/**
 * Keeps bytes under their own SHA-256.
 *
 * A blob is there whole or not at all, also when a writer is killed or two write the same one. The
 * same bytes are stored once. Bytes are checked against their id when they are read.
 *
 * Errors: `invalid` (field `id`, `range`, `maxBytes`, `expected` or `content-digest`), `too_large`,
 * `corrupt` (what is stored has not the SHA-256 that its id says), `unavailable` (disk full, no
 * server), `quota_exceeded`, `aborted`, `closed`.
 */
export interface BlobStore extends AsyncDisposable {
  /** Stores what `source` yields, once it has all been taken in. An error of `source` is passed on. */
  put(source: AsyncIterable<Uint8Array>, options: PutBlobOptions): Promise<StoredBlob>;
  /** What is known of a blob, or null when there is none. */
  stat(id: string): Promise<BlobInfo | null>;
  /**
   * A blob, or null when there is none. Every byte handed out of a range was checked. A whole blob is
   * checked as it is handed out: its stream ends in `corrupt`, without its last bytes, when they do
   * not have the SHA-256 that the id says; a blob of up to 1 MiB is checked before the first byte. A
   * range that starts behind the end is `invalid`, field `range`. The first range of a large blob
   * reads it whole once, to check it.
   */
  get(id: string, range?: BlobRange): Promise<OpenedBlob | null>;
  /**
   * Every blob, once. One that is stored or removed meanwhile may be in it or not. Looks at all there
   * is, so it takes its time where there is much.
   */
  list(): AsyncIterable<BlobInfo>;
  /** Who put a blob; null when there is none. */
  holders(id: string): Promise<BlobHolders | null>;
  /** Notes more who put a blob that is there; false when there is none. No quota counts. */
  addHolders(id: string, holders: BlobHolders): Promise<boolean>;
  /**
   * Ends what `owner` holds of a blob; the bytes go when nobody else put them. Without an owner the blob
   * is removed, whoever put it. `not_found`, `forbidden` (the owner has not put it)
   *
   * @returns Whether the bytes were removed
   */
  delete(id: string, owner?: string): Promise<boolean>;
  /** Bytes that an owner keeps, as a quota counts them. May be a minute old. */
  usage(owner: string): Promise<number>;
  /** Whether it can work now. Never rejects. */
  health(): Promise<BlobHealth>;
  /** Ends it. What is under way ends with `closed`. */
  close(): Promise<void>;
}
