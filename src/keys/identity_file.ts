/**
 * Key files, readable by their owner only and written atomically.
 *
 * @module
 */

import process from "node:process";
import { StoreError } from "../core/errors.ts";
import { systemCode } from "../core/host/system_code.ts";
import { readSmall } from "../files/read.ts";
import { writeWhole } from "../files/write.ts";
import { fileHint } from "../core/hints.ts";
import { exportIdentity, type Identity } from "./identity.ts";
import { lockIdentity, type Passphrase, unlockIdentity } from "./passphrase.ts";

/** More bytes than any key file has. */
const MOST_BYTES = 8192;
const OTHERS = 0o077;

/** Options of {@link readIdentity}. */
export interface ReadIdentityOptions {
  /** The passphrase, or a function that asks for it, which is called only if the file is encrypted. */
  passphrase?: Passphrase;
  /** Accepts a file that other users of the machine can access. Default false. */
  allowOpen?: boolean;
}

/**
 * Reads a key file, encrypted with a passphrase or not.
 *
 * @throws {StoreError} `not_found`; `refused`: other users can access the file; `invalid`: not a
 * key file, it was changed, or the passphrase is wrong; `unsupported`: a newer version
 */
export async function readIdentity(
  path: string,
  { passphrase, allowOpen = false }: ReadIdentityOptions = {},
): Promise<Identity> {
  const { text, mode } = await readIdentityText(path);
  if (!allowOpen && isOpen(mode)) throw new StoreError("refused", `${path}: ${openness(mode)}`);
  return await unlockIdentity(text, passphrase);
}

/** Returns the text of a key file and its mode. */
export async function readIdentityText(path: string): Promise<{ text: string; mode: number }> {
  try {
    return await readSmall(path, MOST_BYTES);
  } catch (cause) {
    if (cause instanceof StoreError) throw cause;
    const code = systemCode(cause);
    const missing = code === "ENOENT";
    const why = missing ? "no such file" : "it cannot be read";
    throw new StoreError(missing ? "not_found" : "invalid", `${path}: ${why}`, {
      cause,
      field: "identity",
      ...missing ? { hint: "create one with createIdentity and writeIdentity" } : fileHint(code),
    });
  }
}

/** Returns whether other users of this machine can access a file of this mode. */
export function isOpen(mode: number): boolean {
  return process.platform !== "win32" && (mode & OTHERS) !== 0;
}

/** Returns the message for a file that {@link isOpen}. */
export function openness(mode: number): string {
  const found = (mode & 0o777).toString(8).padStart(4, "0");
  return `It has private keys and mode ${found}, so other users can access it; set the mode to 0600`;
}

/** Options of {@link writeIdentity}. */
export interface WriteIdentityOptions {
  /** Encrypts the key file with this passphrase. */
  passphrase?: string;
  /** Replaces an existing file. Default false. */
  replace?: boolean;
}

/**
 * Writes a key file with mode 0600, atomically.
 *
 * @throws {StoreError} `refused`: the file exists; `unavailable`: it cannot be written
 */
export async function writeIdentity(
  path: string,
  identity: Identity,
  { passphrase, replace = false }: WriteIdentityOptions = {},
): Promise<void> {
  const text = passphrase === undefined
    ? exportIdentity(identity)
    : await lockIdentity(identity, passphrase);
  try {
    await writeWhole(path, text, { replace });
  } catch (cause) {
    if (systemCode(cause) === "EEXIST") {
      throw new StoreError("refused", `Writing ${path}: the file already exists`);
    }
    throw new StoreError("unavailable", `Writing ${path} failed`, {
      cause,
      ...fileHint(systemCode(cause)),
    });
  }
}
