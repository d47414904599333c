/**
 * The holders of the blobs on a disk.
 *
 * Beside a blob `ab/cd/<id>` is the directory `<id>.by`, with an empty file for each owner, and one named
 * `unowned` if it was stored without an owner. A blob without that directory is of version 0.1. Holders
 * are added before the bytes are placed, so that a concurrent delete sees them.
 * `owners/<owner>/<id>.<size>` is an index for quotas; an error in it makes only a sum wrong.
 *
 * @module
 */

import { mkdir, mkdtemp, rename, rm, rmdir, stat, unlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { systemCode } from "../../core/host/system_code.ts";
import { costOf } from "../holders.ts";
import type { BlobHolders } from "../types.ts";
import { entries } from "./list.ts";

const UNOWNED = "unowned";
const DIRECTORY_MODE = 0o700;
const FILE_MODE = 0o600;
/** How long a sum is cached, milliseconds, because other processes may use the directory too. */
const SUM_GOOD_FOR_MS = 60_000;
/** Maximum number of owners whose sums are cached. */
const MOST_SUMS = 1000;

/** The holders of one blob store. */
export class DiskHolders {
  readonly #root: string;
  readonly #temporary: string;
  readonly #sums = new Map<string, { bytes: number; until: number }>();

  constructor(root: string, temporary: string) {
    this.#root = root;
    this.#temporary = temporary;
  }

  /** Returns the holders of the blob at `target`, or `null` if there is no directory of them. */
  async read(target: string): Promise<BlobHolders | null> {
    const names = await entries(`${target}.by`);
    if (names === null) return null;
    const owners = names.filter((it) => /^[0-9a-f]{64}$/.test(it)).sort();
    return { owners, unowned: names.includes(UNOWNED) };
  }

  /** Adds holders to a blob; returns those that are new. */
  async add(target: string, id: string, size: number, holders: BlobHolders): Promise<BlobHolders> {
    await this.#keepOld(target);
    const added: string[] = [];
    for (const owner of holders.owners) {
      if (await this.#addName(target, owner)) added.push(owner);
      await this.#index(owner, id, size);
    }
    const unowned = holders.unowned && await this.#addName(target, UNOWNED);
    return { owners: added, unowned };
  }

  /** Removes holders. */
  async remove(target: string, id: string, size: number, holders: BlobHolders): Promise<void> {
    for (const owner of holders.owners) {
      await gone(() => unlink(join(`${target}.by`, owner)));
      if (await gone(() => unlink(this.#indexPath(owner, id, size)))) {
        this.#count(owner, -costOf(size));
      }
    }
    if (holders.unowned) await gone(() => unlink(join(`${target}.by`, UNOWNED)));
  }

  /** Removes the directory of holders if it is empty; returns `false` if it is not. */
  async end(target: string): Promise<boolean> {
    try {
      await gone(() => rmdir(`${target}.by`));
      return true;
    } catch (error) {
      if (["ENOTEMPTY", "EEXIST"].includes(systemCode(error))) return false;
      throw error;
    }
  }

  /** Returns the bytes that count for an owner's quota. */
  async usage(owner: string): Promise<number> {
    const known = this.#sums.get(owner);
    if (known !== undefined && Date.now() < known.until) return known.bytes;
    let bytes = 0;
    for (const name of await entries(join(this.#root, "owners", owner)) ?? []) {
      const [, size] = /^[0-9a-f]{64}\.(\d+)$/.exec(name) ?? [];
      if (size !== undefined) bytes += costOf(Number(size));
    }
    this.#sums.delete(owner);
    this.#sums.set(owner, { bytes, until: Date.now() + SUM_GOOD_FOR_MS });
    if (this.#sums.size > MOST_SUMS) this.#sums.delete(this.#sums.keys().next().value!);
    return bytes;
  }

  /** Marks a blob of version 0.1 as `unowned`, so that it stays when later owners delete it. */
  async #keepOld(target: string): Promise<void> {
    const hasHolders = () => exists(`${target}.by`);
    if (await hasHolders() || !await exists(target) || await hasHolders()) return;
    // Atomically, because an empty directory would mean that there are no holders.
    const made = await mkdtemp(join(this.#temporary, "by-"));
    try {
      await writeFile(join(made, UNOWNED), "", { mode: FILE_MODE });
      await rename(made, `${target}.by`);
    } catch (error) {
      await rm(made, { recursive: true, force: true });
      // Another process has done it.
      if (!["ENOTEMPTY", "EEXIST"].includes(systemCode(error))) throw error;
    }
  }

  /** Adds one name; returns `false` if it exists. Retries, because a delete may remove the directory. */
  async #addName(target: string, name: string): Promise<boolean> {
    for (;;) {
      try {
        await writeFile(join(`${target}.by`, name), "", { flag: "wx", mode: FILE_MODE });
        return true;
      } catch (error) {
        if (systemCode(error) === "EEXIST") return false;
        if (systemCode(error) !== "ENOENT") throw error;
        await mkdir(`${target}.by`, { recursive: true, mode: DIRECTORY_MODE });
      }
    }
  }

  async #index(owner: string, id: string, size: number): Promise<void> {
    const path = this.#indexPath(owner, id, size);
    await mkdir(dirname(path), { recursive: true, mode: DIRECTORY_MODE });
    try {
      await writeFile(path, "", { flag: "wx", mode: FILE_MODE });
    } catch (error) {
      if (systemCode(error) === "EEXIST") return;
      throw error;
    }
    this.#count(owner, costOf(size));
  }

  #indexPath(owner: string, id: string, size: number): string {
    return join(this.#root, "owners", owner, `${id}.${size}`);
  }

  #count(owner: string, bytes: number): void {
    const sum = this.#sums.get(owner);
    if (sum !== undefined) sum.bytes += bytes;
  }
}

/** Runs `work`; returns `false` if the file does not exist. */
async function gone(work: () => Promise<void>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    if (systemCode(error) === "ENOENT") return false;
    throw error;
  }
}

async function exists(path: string): Promise<boolean> {
  return await gone(async () => void await stat(path));
}
