/**
 * Files of identities: for their owner's eyes, written whole or not at all.
 *
 * @module
 */

import { constants } from "node:fs";
import { open } from "node:fs/promises";
import process from "node:process";
import { StoreError } from "../core/errors.ts";
import { systemCode } from "../core/host/system_code.ts";
import { writeWhole } from "../files/write.ts";
import { fileHint } from "../core/hints.ts";
import { exportIdentity, type Identity } from "./identity.ts";
import { lockIdentity, type Passphrase, unlockIdentity } from "./passphrase.ts";

/** More bytes than any identity has. */
const MOST_BYTES = 8192;
const OTHERS = 0o077;

/** What {@link readIdentity} takes. */
export interface ReadIdentityOptions {
  /** The passphrase, or what asks for it where the file is under one. */
  passphrase?: Passphrase;
  /** Also a file that other users of the machine may use. Default false. */
  allowOpen?: boolean;
}

/**
 * Reads the file of an identity, in either form.
 *
 * @throws {StoreError} `not_found`; `refused` where others may use the file; `invalid` when it is no
 * identity, was changed, or the passphrase is wrong; `unsupported` when it has a newer version
 */
export async function readIdentity(
  path: string,
  { passphrase, allowOpen = false }: ReadIdentityOptions = {},
): Promise<Identity> {
  const { text, mode } = await readIdentityText(path);
  if (!allowOpen && isOpen(mode)) throw new StoreError("refused", `${path}: ${openness(mode)}`);
  return await unlockIdentity(text, passphrase);
}

/** The text of a file that may be an identity's, and its mode. */
export async function readIdentityText(path: string): Promise<{ text: string; mode: number }> {
  try {
    // A pipe that nobody writes to would keep us for ever.
    const file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    try {
      // Of the open file, not of whatever has its name a moment later.
      const found = await file.stat();
      const { mode } = found;
      if (!found.isFile()) throw new StoreError("invalid", `${path}: it is not a regular file`);
      const buffer = new Uint8Array(MOST_BYTES + 1);
      let length = 0;
      for (let read = -1; read !== 0 && length < buffer.length; length += read) {
        read = (await file.read(buffer, length, buffer.length - length, null)).bytesRead;
      }
      if (length > MOST_BYTES) {
        throw new StoreError("invalid", `${path}: it is longer than an identity`);
      }
      return { text: new TextDecoder().decode(buffer.subarray(0, length)), mode };
    } finally {
      await file.close();
    }
  } catch (cause) {
    if (cause instanceof StoreError) throw cause;
    const code = systemCode(cause);
    const missing = code === "ENOENT";
    const why = missing ? "no such file" : "it cannot be read";
    throw new StoreError(missing ? "not_found" : "invalid", `${path}: ${why}`, {
      cause,
      field: "identity",
      ...missing ? { hint: "createIdentity() and writeIdentity() make one" } : fileHint(code),
    });
  }
}

/** Whether others on this machine may use a file of this mode. */
export function isOpen(mode: number): boolean {
  return process.platform !== "win32" && (mode & OTHERS) !== 0;
}

/** What to say of a file that {@link isOpen}. */
export function openness(mode: number): string {
  const found = (mode & 0o777).toString(8).padStart(4, "0");
  return `It holds private keys and has mode ${found}, so others may use it; set it to 0600`;
}

/** What {@link writeIdentity} takes. */
export interface WriteIdentityOptions {
  /** Puts the identity under a passphrase. */
  passphrase?: string;
  /** Replaces a file that is there. Default false. */
  replace?: boolean;
}

/**
 * Writes the file of an identity, mode 0600, whole or not at all.
 *
 * @throws {StoreError} `refused` when there is such a file; `unavailable` when it cannot be written
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
      throw new StoreError("refused", `Writing ${path}: there is such a file`);
    }
    throw new StoreError("unavailable", `Writing ${path} failed`, {
      cause,
      ...fileHint(systemCode(cause)),
    });
  }
}
