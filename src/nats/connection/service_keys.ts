/**
 * The control plane's own keys: it connects to NATS with them, outside the auth callout, and signs
 * the JWTs of the clients it admits. They are stored in one file, which is the same on every node
 * of a cluster.
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

/** The control plane's own keys. Anyone who has them controls the bus. */
export interface ServiceKeys {
  /** The user that answers callout requests and accesses the control plane's bucket. */
  readonly service: NkeyPair;
  /** The user of the system account, which lists and closes connections. */
  readonly system: NkeyPair;
  /** The account key that signs user JWTs. */
  readonly issuer: NkeyPair;
}

/** Options of {@link loadServiceKeys}. */
export interface LoadServiceKeysOptions {
  /** Create the file if it does not exist. Default false. */
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
/** The file has less than 400 bytes. A larger file is not a key file and is not read. */
const MAX_BYTES = 16 * 1024;

/**
 * Loads the service keys and, with `create`, creates them if the file does not exist. Processes
 * that start at the same time agree on one file. All nodes of a cluster need the same keys: create
 * them on one node and copy the file, with mode 0600, to the others before they start.
 *
 * @throws {StoreError} not_found: the file does not exist and `create` is not set
 * @throws {StoreError} refused: other users can read or change the file, or it is not a regular file
 * @throws {StoreError} corrupt: the file is damaged
 * @throws {StoreError} unsupported: a later version wrote the file
 * @throws {StoreError} unavailable: the file cannot be read or written
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
    throw new StoreError("not_found", `Read the service keys: ${path} does not exist`, {
      hint: "the server creates them next to its database file when it first starts",
    });
  }
  try {
    await create(path);
  } catch (error) {
    throw unavailable("Create", path, error);
  }
  // Read it even if we created it: another process may have won.
  const made = await read(path);
  if (made !== null) return made;
  throw new StoreError("unavailable", `Create the service keys: ${path} was removed meanwhile`);
}

async function read(path: string): Promise<ServiceKeys | null> {
  let file: FileHandle;
  try {
    // Opening a pipe without a writer would block forever.
    file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  } catch (error) {
    if (systemCode(error) === "ENOENT") return null;
    throw unavailable("Read", path, error);
  }
  let text: string;
  try {
    const { mode, size, uid } = await file.stat();
    if ((mode & 0o170000) !== 0o100000 || size > MAX_BYTES) {
      throw new StoreError("refused", `Read the service keys: ${path} is not a service key file`);
    }
    if (process.platform !== "win32") {
      if ((mode & 0o077) !== 0) {
        const found = (mode & 0o777).toString(8).padStart(4, "0");
        throw new StoreError(
          "refused",
          `Read the service keys: ${path} has mode ${found}, so other users can access it`,
          { hint: "chmod 600 it; if someone may have read it, delete it and restart" },
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
  return parseServiceKeys(text, path);
}

/**
 * Parses the text of a service key file.
 *
 * @throws {StoreError} corrupt: it is damaged; unsupported: a later version wrote it
 */
export function parseServiceKeys(text: string, path: string): ServiceKeys {
  // No cause: a parser's error quotes a part of its input.
  const corrupt = (what: string) =>
    new StoreError(
      "corrupt",
      `Read the service keys: ${path} ${what}`,
      { hint: "replace the file with the one of another node or of a backup" },
    );
  let value: Record<string, unknown>;
  try {
    value = JSON.parse(text);
  } catch {
    throw corrupt("is damaged");
  }
  if (value?.format !== FORMAT) throw corrupt("contains no service keys");
  if (value.version !== VERSION) {
    throw new StoreError(
      "unsupported",
      `Read the service keys: ${path} has version ${
        Number(value.version)
      }, supported is ${VERSION}`,
      { hint: NEWER },
    );
  }
  const pairs = NAMES.map((name) => {
    try {
      const pair = nkeyFromSeed(String(value[name]), name);
      if (pair.kind === KINDS[name]) return [name, pair];
    } catch { /* Reported below. */ }
    throw corrupt(`contains no ${KINDS[name]} seed for ${name}`);
  });
  const keys: ServiceKeys = Object.fromEntries(pairs);
  if (keys.service.publicKey === keys.system.publicKey) {
    throw corrupt("contains the same seed for service and system");
  }
  return Object.freeze(keys);
}

/** Creates the file atomically; keeps one that another process created meanwhile. */
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
