/**
 * The holders of a bucket's objects, and the bytes that each owner stores.
 *
 * The description of an object names its holders in its `metadata`; one without that is of version 0.1,
 * or of another tool. It is compared and set, so that who puts and who deletes at the same time do not
 * overlook each other. What an owner keeps is counted in the metadata of an empty object of its own,
 * charged before a blob is described: after a kill in between the count is too high, and it is counted
 * anew before anybody is refused.
 *
 * @module
 */

import { retry, WrongRevision } from "../../jetstream/log/wire.ts";
import { demandQuota } from "../holders.ts";
import type { ObjectInfo } from "./format.ts";
import { type Found, readInfo } from "./info.ts";
import type { ObjectStream } from "./stream.ts";
import type { BlobHolders } from "../types.ts";

const HOLDERS = "unibus-holders";
const BYTES = "unibus-bytes";
const UNOWNED = "unowned";
/** Owners that one description names; more of the same bytes are not named, and not charged. */
const MOST_OWNERS = 256;

/** Returns the holders of an object, from its description. */
export function holdersOf({ metadata }: ObjectInfo): BlobHolders {
  const words = metadata?.[HOLDERS]?.split(" ") ?? [UNOWNED];
  const owners = words.filter((it) => /^[0-9a-f]{64}$/.test(it)).sort();
  return { owners, unowned: words.includes(UNOWNED) };
}

/** Returns a description that names the holders. */
export function withHolders(info: ObjectInfo, { owners, unowned }: BlobHolders): ObjectInfo {
  const named = owners.slice(0, MOST_OWNERS);
  const words = unowned || named.length < owners.length ? [...named, UNOWNED] : named;
  return { ...info, metadata: { ...info.metadata, [HOLDERS]: words.join(" ") } };
}

/** Replaces a description; returns false when its revision is no longer the expected one. */
export async function replaceInfo(
  stream: ObjectStream,
  info: ObjectInfo,
  revision: number,
  deadline: number,
): Promise<boolean> {
  const what = `Describing object ${info.name}`;
  try {
    await retry(what, deadline, () => stream.describe(info, revision, deadline, what));
    return true;
  } catch (error) {
    if (!(error instanceof WrongRevision)) throw error;
    return false;
  }
}

/** The bytes that owners store. */
export class Accounts {
  readonly #stream: ObjectStream;
  readonly #opTimeout: number;
  readonly #recount: (owner: string) => Promise<number>;

  /** @param recount Counts the bytes of an owner from all descriptions */
  constructor(
    stream: ObjectStream,
    opTimeout: number,
    recount: (owner: string) => Promise<number>,
  ) {
    this.#stream = stream;
    this.#opTimeout = opTimeout;
    this.#recount = recount;
  }

  /** Returns the bytes that an owner stores. */
  async usage(owner: string): Promise<number> {
    return bytesOf(await this.#read(owner));
  }

  /**
   * Adds to the bytes of an owner.
   *
   * @throws {StoreError} quota_exceeded: when they are more than `quota`
   */
  async charge(owner: string, bytes: number, quota: number): Promise<void> {
    await this.#change(owner, async (used, tried) => {
      let known = used;
      if (known + bytes > quota && tried === 0) known = await this.#recount(owner);
      demandQuota(known, bytes, quota);
      return known + bytes;
    });
  }

  /** Subtracts from the bytes of an owner. A count that stays too high is corrected before it refuses. */
  async refund(owner: string, bytes: number): Promise<void> {
    await this.#change(owner, (used) => Promise.resolve(Math.max(0, used - bytes))).catch(() => {});
  }

  #read(owner: string): Promise<Found | null> {
    return readInfo(this.#stream, nameOf(owner), Date.now() + this.#opTimeout);
  }

  async #change(
    owner: string,
    next: (used: number, tried: number) => Promise<number>,
  ): Promise<void> {
    for (let tried = 0;; tried++) {
      const found = await this.#read(owner);
      const bytes = await next(bytesOf(found), tried);
      const deadline = Date.now() + this.#opTimeout;
      const revision = found?.revision ?? 0;
      if (await replaceInfo(this.#stream, this.#info(owner, bytes), revision, deadline)) return;
      if (tried >= 64) throw new WrongRevision(`The count of ${owner} changes all the time`);
    }
  }

  #info(owner: string, bytes: number): ObjectInfo {
    return {
      name: nameOf(owner),
      bucket: this.#stream.subjects.bucket,
      nuid: owner,
      size: 0,
      chunks: 0,
      digest: "SHA-256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=",
      mtime: new Date().toISOString(),
      deleted: false,
      metadata: { [BYTES]: String(bytes) },
    };
  }
}

function nameOf(owner: string): string {
  return `usage/${owner}`;
}

function bytesOf(found: Found | null): number {
  const bytes = Number(found?.info.metadata?.[BYTES] ?? 0);
  return Number.isSafeInteger(bytes) && bytes >= 0 ? bytes : 0;
}
