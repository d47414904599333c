/**
 * Blobs as files.
 *
 * `ab/cd/<id>` are the blobs. A blob is written to `tmp/`, synced, and linked to its path, which fails if
 * it exists: so only one of several concurrent writers, even in several processes, creates it.
 *
 * @module
 */

import { constants } from "node:fs";
import {
  chmod,
  type FileHandle,
  link,
  mkdir,
  open,
  rename,
  statfs,
  unlink,
} from "node:fs/promises";
import { join, resolve } from "node:path";
import { isStoreError, StoreError } from "../../core/errors.ts";
import { systemCode } from "../../core/host/system_code.ts";
import { toStoreError } from "../../files/errors.ts";
import { syncDirectory } from "../../files/write.ts";
import { Turns } from "../../core/async/turns.ts";
import { checkHolders, checkId, checkOwner } from "../checks.ts";
import { DiskHolders } from "./holders.ts";
import { listDisk, sizeOf } from "./list.ts";
import { costOf, demandQuota, isNobody, missingIn, noBlob, NOBODY, notOwner } from "../holders.ts";
import { type Sink, takeIn } from "../intake.ts";
import { Lifetime } from "../lifetime.ts";
import { type Block, type Blocks, Proofs, WholeCheck } from "../proofs.ts";
import { handOut } from "../reading.ts";
import { sweep, temporaryName } from "./temporary.ts";
import type {
  BlobHealth,
  BlobHolders,
  BlobInfo,
  BlobRange,
  BlobStore,
  OpenedBlob,
  PutBlobOptions,
  StoredBlob,
} from "../types.ts";

/** Number of bytes read and written at once. */
const BLOCK = 256 * 1024;

/** Only the owner can access directories and files. */
const DIRECTORY_MODE = 0o700;
const FILE_MODE = 0o600;

/** Options of {@link openDiskBlobs}. */
export interface DiskBlobsOptions {
  /** Disk space in bytes that blobs leave free for other uses, such as the store. Default 0. */
  reserve?: number;
}

/**
 * Opens a blob store in a directory, which is created if it does not exist. Several processes can use it
 * at the same time. Removes what killed writers left.
 *
 * @throws {StoreError} `unavailable`: the directory cannot be created or written
 */
export async function openDiskBlobs(
  directory: string,
  { reserve = 0 }: DiskBlobsOptions = {},
): Promise<BlobStore> {
  const root = resolve(directory);
  const temporary = join(root, "tmp");
  try {
    await mkdir(temporary, { recursive: true, mode: DIRECTORY_MODE });
    // The mode above applies only to new directories.
    await chmod(temporary, DIRECTORY_MODE);
    await sweep(temporary);
  } catch (error) {
    throw toStoreError(error, `Opening the blobs in ${root}`);
  }
  const blobs = new DiskBlobs(root, temporary, reserve);
  try {
    await blobs.probe();
  } catch (error) {
    throw toStoreError(error, `Opening the blobs in ${root}: Writing a file`);
  }
  return blobs;
}

class DiskBlobs implements BlobStore {
  readonly #root: string;
  readonly #temporary: string;
  readonly #lifetime = new Lifetime("store of blobs");
  readonly #proofs = new Proofs();
  /** Shards whose directory entries this process has synced, at most 65,536. */
  readonly #synced = new Set<string>();
  readonly #reserve: number;
  readonly #holders: DiskHolders;
  /** Serializes changes of holders for each owner, because a quota is checked before it is used. */
  readonly #turns = new Turns();

  constructor(root: string, temporary: string, reserve: number) {
    this.#root = root;
    this.#temporary = temporary;
    this.#reserve = reserve;
    this.#holders = new DiskHolders(root, temporary);
  }

  async put(source: AsyncIterable<Uint8Array>, options: PutBlobOptions): Promise<StoredBlob> {
    return await this.#lifetime.run(() =>
      takeIn(source, options, this.#lifetime, BLOCK, () => this.#sink())
    );
  }

  stat(id: string): Promise<BlobInfo | null> {
    return attempt("Reading a blob", async () => {
      this.#lifetime.check();
      const size = await sizeOf(this.#path(checkId(id)));
      return size === null ? null : { id, size };
    });
  }

  get(id: string, range?: BlobRange): Promise<OpenedBlob | null> {
    return attempt("Reading a blob", async () => {
      const info = await this.stat(id);
      if (info === null) return null;
      const blocks = new FileBlocks(id, info.size, this.#path(id));
      return await this.#lifetime.run(() => handOut(blocks, range, this.#proofs, this.#lifetime));
    });
  }

  async *list(): AsyncGenerator<BlobInfo> {
    try {
      this.#lifetime.check();
      yield* listDisk(this.#root, () => this.#lifetime.check());
    } catch (error) {
      throw toStoreError(error, "Listing the blobs");
    }
  }

  holders(id: string): Promise<BlobHolders | null> {
    return attempt("Reading the holders of a blob", async () => {
      if (await this.stat(id) === null) return null;
      return await this.#holders.read(this.#path(id)) ?? { owners: [], unowned: true };
    });
  }

  addHolders(id: string, given: BlobHolders): Promise<boolean> {
    return attempt("Adding holders to a blob", async () => {
      const info = await this.stat(id);
      if (info === null) return false;
      await this.#holders.add(this.#path(id), id, info.size, checkHolders(given));
      return await this.stat(id) !== null;
    });
  }

  delete(id: string, owner?: string): Promise<boolean> {
    return attempt("Deleting a blob", async () => {
      const target = this.#path(checkId(id));
      const by = owner === undefined ? null : checkOwner(owner);
      this.#lifetime.check();
      const leave = async () => {
        const info = await this.stat(id);
        if (info === null) throw noBlob();
        const all = await this.#holders.read(target) ?? { owners: [], unowned: true };
        if (by !== null && !all.owners.includes(by)) throw notOwner(id);
        const leaving = by === null ? all : { owners: [by], unowned: false };
        await this.#holders.remove(target, id, info.size, leaving);
        // Read again, because another owner may have been removed at the same time.
        const left = await this.#holders.read(target);
        return (left === null || isNobody(left)) && await this.#removeBytes(target);
      };
      return await this.#lifetime.run(() => by === null ? leave() : this.#turns.take(by, leave));
    });
  }

  /**
   * Removes bytes without holders. They are moved aside before the holders are checked again: if one was
   * added in the meantime, they are moved back; one added later finds no file, and stores its own bytes.
   */
  async #removeBytes(target: string): Promise<boolean> {
    const aside = join(this.#temporary, temporaryName());
    try {
      await rename(target, aside);
    } catch (error) {
      if (systemCode(error) === "ENOENT") return false;
      throw error;
    }
    const isEnded = await this.#holders.end(target);
    if (!isEnded && !await this.#link(aside, target) && await sizeOf(target) === null) {
      await rename(aside, target);
    } else await unlink(aside);
    return isEnded;
  }

  usage(owner: string): Promise<number> {
    return attempt("Counting the bytes of an owner", async () => {
      this.#lifetime.check();
      return await this.#holders.usage(checkOwner(owner));
    });
  }

  async health(): Promise<BlobHealth> {
    if (this.#lifetime.closed) return { ok: false, detail: "The store of blobs is closed" };
    try {
      return { ok: true, detail: await this.probe() };
    } catch (error) {
      return { ok: false, detail: toStoreError(error, "Writing a file").message };
    }
  }

  /** Writes and removes a file; returns the free disk space as text. */
  async probe(): Promise<string> {
    const { handle, path } = await this.#createTemporary();
    try {
      await handle.write(new Uint8Array(4096));
    } finally {
      await handle.close();
      await unlink(path);
    }
    const { bavail, bsize } = await statfs(this.#root);
    const reserved = this.#reserve > 0 ? `, ${Math.floor(this.#reserve / 2 ** 20)} reserved` : "";
    return `${Math.floor(bavail * bsize / 2 ** 20)} MiB free${reserved}`;
  }

  close(): Promise<void> {
    return this.#lifetime.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Returns the path of a blob, whose id has been validated. */
  #path(id: string): string {
    return join(this.#root, id.slice(0, 2), id.slice(2, 4), id);
  }

  async #createTemporary(): Promise<{ handle: FileHandle; path: string }> {
    const path = join(this.#temporary, temporaryName());
    const { O_WRONLY, O_CREAT, O_EXCL } = constants;
    return { handle: await open(path, O_WRONLY | O_CREAT | O_EXCL, FILE_MODE), path };
  }

  async #sink(): Promise<Sink> {
    const what = `Storing a blob in ${this.#root}`;
    await attempt(what, () => this.#demandRoom(0));
    const { handle, path } = await attempt(what, () => this.#createTemporary());
    let writing: Promise<void> = Promise.resolve();
    let closing: Promise<void> | undefined;
    const hold = (...args: [string, number, BlobHolders, number]) => this.#hold(path, ...args);
    const demandRoom = (bytes: number) => this.#demandRoom(bytes);
    return {
      write(block) {
        writing = attempt(what, async () => {
          await demandRoom(block.length);
          await writeAll(handle, block);
        });
        return writing;
      },
      commit(id, size, holders, quota) {
        return attempt(what, async () => {
          await handle.sync();
          closing = handle.close();
          await closing;
          const created = await hold(id, size, holders, quota);
          await unlink(path).catch(() => {});
          return created;
        });
      },
      async discard() {
        await writing.catch(() => {});
        await (closing ?? handle.close()).catch(() => {});
        await unlink(path).catch(() => {});
      },
    };
  }

  /** Throws if the bytes would use reserved disk space. */
  async #demandRoom(bytes: number): Promise<void> {
    if (this.#reserve === 0) return;
    const { bavail, bsize } = await statfs(this.#root);
    if (bavail * bsize - bytes >= this.#reserve) return;
    throw new StoreError(
      "unavailable",
      `Storing a blob in ${this.#root}: ${bavail * bsize} bytes are free, and the last ` +
        `${this.#reserve} are reserved for the control plane`,
    );
  }

  /** Adds the holders, within their quotas, and moves the blob to its path. */
  async #hold(
    path: string,
    id: string,
    size: number,
    holders: BlobHolders,
    quota: number,
  ): Promise<boolean> {
    const target = this.#path(id);
    const hold = async () => {
      if (quota !== Infinity) await this.#demandQuota(target, size, holders, quota);
      const added = await this.#holders.add(target, id, size, holders);
      try {
        return await this.#place(path, id, size);
      } catch (error) {
        // If the bytes are stored nevertheless, the holders stay.
        if (await sizeOf(target).catch(() => 0) === null) {
          await this.#holders.remove(target, id, size, added).catch(() => {});
          await this.#holders.end(target).catch(() => {});
        }
        throw error;
      }
    };
    // One at a time for each owner. Only copies have several owners, and they have no quota.
    const [owner] = holders.owners;
    return await (owner === undefined ? hold() : this.#turns.take(owner, hold));
  }

  async #demandQuota(
    target: string,
    size: number,
    holders: BlobHolders,
    quota: number,
  ): Promise<void> {
    const before = await this.#holders.read(target) ?? NOBODY;
    for (const owner of missingIn(before, holders).owners) {
      demandQuota(await this.#holders.usage(owner), costOf(size), quota);
    }
  }

  /** Moves a synced temporary file to its path; returns `false` if a good copy exists. */
  async #place(path: string, id: string, size: number): Promise<boolean> {
    const target = this.#path(id);
    let created = await this.#link(path, target);
    if (!created && !(await this.#isGood(id, size))) {
      // Replaces a damaged copy.
      await rename(path, target);
      created = true;
    }
    // Also if another process created it, which may have been killed before this.
    await this.#syncDirectories(id);
    return created;
  }

  /** Links the file to `target`; returns `false` if a file exists there, or links are not supported. */
  async #link(path: string, target: string): Promise<boolean> {
    try {
      // The directory exists, because the holders were added in it.
      await link(path, target);
      return true;
    } catch (error) {
      // All but EEXIST: a file system without hard links, where concurrent writers may both rename.
      if (["EEXIST", "EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"].includes(systemCode(error))) {
        return false;
      }
      throw error;
    }
  }

  async #isGood(id: string, size: number): Promise<boolean> {
    if ((await sizeOf(this.#path(id))) !== size) return false;
    const blocks = new FileBlocks(id, size, this.#path(id));
    const whole = new WholeCheck(blocks);
    try {
      for await (const { bytes } of blocks.read(0)) whole.add(bytes);
      whole.end();
      return true;
    } catch (error) {
      if (isStoreError(error, "corrupt")) return false;
      // Another process deleted it after its size was read.
      if (isStoreError(error) && systemCode(error.cause) === "ENOENT") return false;
      throw error;
    }
  }

  /** Makes a new file durable: syncs its directory, and those above if they may be new. */
  async #syncDirectories(id: string): Promise<void> {
    // It does not exist if an admin has deleted the blob in the meantime.
    await syncDirectory(`${this.#path(id)}.by`).catch((error) => {
      if (systemCode(error) !== "ENOENT") throw error;
    });
    const shard = id.slice(0, 4);
    const upper = join(this.#root, id.slice(0, 2));
    await syncDirectory(join(upper, id.slice(2, 4)));
    if (this.#synced.has(shard)) return;
    await syncDirectory(upper);
    await syncDirectory(this.#root);
    this.#synced.add(shard);
  }
}

/** The blocks of a file, which is open only while it is read. */
class FileBlocks implements Blocks {
  readonly blockSize = BLOCK;
  readonly copy = "";
  readonly id: string;
  readonly size: number;
  readonly #path: string;

  constructor(id: string, size: number, path: string) {
    this.id = id;
    this.size = size;
    this.#path = path;
  }

  async *read(first: number): AsyncGenerator<Block, void> {
    try {
      const handle = await open(this.#path, constants.O_RDONLY);
      try {
        for (let at = first * BLOCK;;) {
          const bytes = new Uint8Array(Math.min(BLOCK, Math.max(1, this.size - at)));
          const read = await readAll(handle, bytes, at);
          if (read > 0) yield { bytes: bytes.subarray(0, read) };
          at += read;
          if (read < bytes.length || at >= this.size) return;
        }
      } finally {
        await handle.close();
      }
    } catch (error) {
      throw toStoreError(error, `Reading blob ${this.id}`);
    }
  }
}

/** Runs `work` and converts errors of the file system. */
async function attempt<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw toStoreError(error, what);
  }
}

async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done);
    done += bytesWritten;
  }
}

async function readAll(handle: FileHandle, into: Uint8Array, at: number): Promise<number> {
  let done = 0;
  while (done < into.length) {
    const { bytesRead } = await handle.read(into, done, into.length - done, at + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done;
}
