/**
 * The keys of the control plane itself: with them it connects to NATS outside the auth callout, and
 * signs whom it admits. They live in one file, the same on every node of a cluster.
 *
 * @module
 */

import { constants } from "node:fs";
import { type FileHandle, mkdir, open } from "node:fs/promises";
import { dirname } from "node:path";
import process from "node:process";
import { StoreError } from "../../core/errors.ts";
import { systemCode } from "../../core/host/system_code.ts";
import { writeWhole } from "../../files/write.ts";
import { fileHint, NEWER } from "../../core/hints.ts";
import { createNkey, nkeyFromSeed, type NkeyKind, type NkeyPair } from "../../keys/nkey.ts";

/** The control plane's own keys. Whoever has them has the bus. */
export interface ServiceKeys {
  /** The user who answers the callout and keeps the control plane's bucket. */
  readonly service: NkeyPair;
  /** The user of the system account, who sees and ends connections. */
  readonly system: NkeyPair;
  /** The account key that signs admissions. */
  readonly issuer: NkeyPair;
}

/** How {@link loadServiceKeys} treats a missing file. */
export interface LoadServiceKeysOptions {
  /** Make the file when there is none. Default false. */
  create?: boolean;
}

const KINDS: Record<keyof ServiceKeys, NkeyKind> = {
  service: "user",
  system: "user",
  issuer: "account",
};
const NAMES = Object.keys(KINDS) as (keyof ServiceKeys)[];
const FORMAT = "unibus-service-keys";
const VERSION = 1;
/** The file has less than 400 bytes. Whatever is larger is not ours, and not read. */
const MAX_BYTES = 16 * 1024;

/**
 * Reads the keys, and makes them first where `create` says so. Two processes that start at once agree
 * on one file. Nodes of a cluster need the same keys: make them on one node and copy the file, with
 * its mode 0600, to the others before they start.
 *
 * `not_found` (no file, without `create`), `refused` (others may read or change it, or it is no file),
 * `corrupt` (damaged), `unsupported` (a later version's), `unavailable` (the disk says no).
 *
 * @example
 * ```ts
 * import { loadServiceKeys } from "@unibus/membership/nats";
 *
 * const directory = await Deno.makeTempDir();
 * const { service } = await loadServiceKeys(`${directory}/service.keys`, { create: true });
 * console.log(service.publicKey);
 * ```
 */
export async function loadServiceKeys(
  path: string,
  options: LoadServiceKeysOptions = {},
): Promise<ServiceKeys> {
  const found = await read(path);
  if (found !== null) return found;
  if (options.create !== true) {
    throw new StoreError("not_found", `Read the service keys: there is no file ${path}`, {
      hint: "the server makes them beside its database file",
    });
  }
  try {
    await create(path);
  } catch (error) {
    throw unavailable("Make", path, error);
  }
  // Also where we made it: what counts is what the others will read.
  const made = await read(path);
  if (made !== null) return made;
  throw new StoreError("unavailable", `Make the service keys: ${path} went away at once`);
}

async function read(path: string): Promise<ServiceKeys | null> {
  let file: FileHandle;
  try {
    // A pipe that nobody writes to would keep us for ever.
    file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  } catch (error) {
    if (systemCode(error) === "ENOENT") return null;
    throw unavailable("Read", path, error);
  }
  let text: string;
  try {
    const { mode, size, uid } = await file.stat();
    if ((mode & 0o170000) !== 0o100000 || size > MAX_BYTES) {
      throw new StoreError("refused", `Read the service keys: ${path} is not a file of keys`);
    }
    if (process.platform !== "win32") {
      if ((mode & 0o077) !== 0) {
        const found = (mode & 0o777).toString(8).padStart(4, "0");
        throw new StoreError(
          "refused",
          `Read the service keys: ${path} has mode ${found}, so others than its owner may use it; ` +
            `chmod 600 it, and if somebody may have read it, remove it and start again`,
        );
      }
      const own = process.getuid?.() ?? 0;
      if (uid !== own && uid !== 0) {
        throw new StoreError("refused", `Read the service keys: ${path} belongs to another user`);
      }
    }
    text = await file.readFile("utf8");
  } catch (error) {
    throw error instanceof StoreError ? error : unavailable("Read", path, error);
  } finally {
    await file.close();
  }
  return parse(text, path);
}

function parse(text: string, path: string): ServiceKeys {
  // No cause: the error of a parser shows a piece of what it read.
  const corrupt = (what: string) =>
    new StoreError(
      "corrupt",
      `Read the service keys: ${path} ${what}; put the file of another node or of a backup in its place`,
    );
  let value: Record<string, unknown>;
  try {
    value = JSON.parse(text);
  } catch {
    throw corrupt("is damaged");
  }
  if (value?.format !== FORMAT) throw corrupt("holds no service keys");
  if (value.version !== VERSION) {
    throw new StoreError(
      "unsupported",
      `Read the service keys: ${path} has version ${Number(value.version)}, known is ${VERSION}`,
      { hint: NEWER },
    );
  }
  const pairs = NAMES.map((name) => {
    try {
      const pair = nkeyFromSeed(String(value[name]), name);
      if (pair.kind === KINDS[name]) return [name, pair];
    } catch { /* Said below. */ }
    throw corrupt(`holds no ${KINDS[name]} seed for ${name}`);
  });
  const keys: ServiceKeys = Object.fromEntries(pairs);
  if (keys.service.publicKey === keys.system.publicKey) {
    throw corrupt("holds one seed for service and system");
  }
  return Object.freeze(keys);
}

/** Makes the file whole or not at all; one that another process made meanwhile stays. */
async function create(path: string): Promise<void> {
  const seeds = Object.fromEntries(NAMES.map((name) => [name, createNkey(KINDS[name]).seed]));
  const text = JSON.stringify({ format: FORMAT, version: VERSION, ...seeds }, null, 2) + "\n";
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await writeWhole(path, text).catch((error) => {
    if (systemCode(error) !== "EEXIST") throw error;
  });
}

function unavailable(what: string, path: string, cause: unknown): StoreError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new StoreError("unavailable", `${what} the service keys in ${path}: ${why}`, {
    cause,
    ...fileHint((cause as NodeJS.ErrnoException).code),
  });
}
