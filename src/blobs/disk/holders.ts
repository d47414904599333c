/**
 * Who put the blobs on a disk.
 *
 * Beside a blob `ab/cd/<id>` stands the directory `<id>.by`, with an empty file for each owner and one
 * named `unowned` where somebody was not named. A blob without that directory is of version 0.1. Who
 * puts a blob is noted before its bytes are placed, so that whoever deletes it meanwhile sees it.
 * `owners/<owner>/<id>.<size>` is an index for the quota; where it is wrong, only a sum is.
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
/** A sum is good for so long, milliseconds: other processes may use the directory too. */
const SUM_GOOD_FOR_MS = 60_000;
/** Owners whose sums are remembered. */
const MOST_SUMS = 1000;

/** The notes of one store of blobs. */
export class DiskHolders {
  readonly #root: string;
  readonly #temporary: string;
  readonly #sums = new Map<string, { bytes: number; until: number }>();

  constructor(root: string, temporary: string) {
    this.#root = root;
    this.#temporary = temporary;
  }

  /** Who put the blob at `target`; null where nothing is noted. */
  async read(target: string): Promise<BlobHolders | null> {
    const names = await entries(`${target}.by`);
    if (names === null) return null;
    const owners = names.filter((it) => /^[0-9a-f]{64}$/.test(it)).sort();
    return { owners, unowned: names.includes(UNOWNED) };
  }

  /** Notes holders of a blob; returns those that were not noted before. */
  async add(target: string, id: string, size: number, holders: BlobHolders): Promise<BlobHolders> {
    await this.#keepOld(target);
    const added: string[] = [];
    for (const owner of holders.owners) {
      if (await this.#note(target, owner)) added.push(owner);
      await this.#index(owner, id, size);
    }
    const unowned = holders.unowned && await this.#note(target, UNOWNED);
    return { owners: added, unowned };
  }

  /** Takes holders away. */
  async remove(target: string, id: string, size: number, holders: BlobHolders): Promise<void> {
    for (const owner of holders.owners) {
      await gone(() => unlink(join(`${target}.by`, owner)));
      if (await gone(() => unlink(this.#indexPath(owner, id, size)))) {
        this.#count(owner, -costOf(size));
      }
    }
    if (holders.unowned) await gone(() => unlink(join(`${target}.by`, UNOWNED)));
  }

  /** Ends the notes of a blob where nobody is noted; false where somebody is. */
  async end(target: string): Promise<boolean> {
    try {
      await gone(() => rmdir(`${target}.by`));
      return true;
    } catch (error) {
      if (["ENOTEMPTY", "EEXIST"].includes(systemCode(error))) return false;
      throw error;
    }
  }

  /** Bytes of an owner. */
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

  /** A blob of version 0.1 stays somebody's, whoever puts the same bytes now. */
  async #keepOld(target: string): Promise<void> {
    const isNoted = () => exists(`${target}.by`);
    if (await isNoted() || !await exists(target) || await isNoted()) return;
    // Whole or not at all: an empty directory would say that nobody put it.
    const made = await mkdtemp(join(this.#temporary, "by-"));
    try {
      await writeFile(join(made, UNOWNED), "", { mode: FILE_MODE });
      await rename(made, `${target}.by`);
    } catch (error) {
      await rm(made, { recursive: true, force: true });
      // Another process was quicker.
      if (!["ENOTEMPTY", "EEXIST"].includes(systemCode(error))) throw error;
    }
  }

  /** Notes one; false when it was noted. Whoever deletes the last one takes the directory along. */
  async #note(target: string, name: string): Promise<boolean> {
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

/** Does it; false where there is nothing to do it to. */
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
