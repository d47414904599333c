/**
 * Reads passphrases from a file or the terminal; never from an argument or environment variable,
 * which other users of the machine may be able to read.
 *
 * @module
 */

import type { Command, OptionValues } from "@commander-js/extra-typings";
import { Option } from "@commander-js/extra-typings";
import { Buffer } from "node:buffer";
import { stat } from "node:fs/promises";
import process from "node:process";
import type { Context } from "./context.ts";
import { UsageError } from "./failure.ts";
import { bytesOf } from "./files.ts";

/** Flags of commands that can need a passphrase. */
export type PassphraseFlags = {
  passphrase?: true;
  passphraseFile?: string;
};

const MAX_BYTES = 4096;

/** Adds `--passphrase` and `--passphrase-file`. */
export function withPassphrase<A extends unknown[], O extends OptionValues>(
  parent: Command<A, O>,
  asks: string,
): Command<A, O & PassphraseFlags> {
  parent.addOption(
    new Option("--passphrase", `${asks}; prompts for it`)
      .conflicts("passphraseFile"),
  ).option("--passphrase-file <file>", "file whose first line is the passphrase; - reads stdin");
  return parent as unknown as Command<A, O & PassphraseFlags>;
}

/** Reads the passphrase that the flags request; returns `null` without such a flag. */
export async function passphraseOf(
  context: Context,
  { passphrase, passphraseFile }: PassphraseFlags,
  { twice = false }: { twice?: boolean } = {},
): Promise<string | null> {
  if (passphraseFile !== undefined) return await fromFile(context, passphraseFile);
  if (passphrase !== true) return null;
  const { prompt } = context.io;
  if (prompt === undefined) {
    throw new UsageError("--passphrase requires a terminal; use --passphrase-file instead");
  }
  const typed = notEmpty(await prompt("Passphrase: "), "--passphrase");
  if (twice && await prompt("Again: ") !== typed) {
    throw new UsageError("--passphrase: the passphrases do not match");
  }
  return typed;
}

async function fromFile({ io }: Context, path: string): Promise<string> {
  const flag = `--passphrase-file ${path}`;
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of bytesOf(io, path)) {
    length += chunk.length;
    if (length > MAX_BYTES) throw new UsageError(`${flag}: more than ${MAX_BYTES} bytes`);
    chunks.push(chunk);
  }
  if (path !== "-" && process.platform !== "win32" && ((await stat(path)).mode & 0o007) !== 0) {
    throw new UsageError(
      `${flag}: the file contains a passphrase and is accessible to all users of this machine; ` +
        `chmod o-rwx ${path}`,
    );
  }
  const [line = ""] = Buffer.concat(chunks).toString("utf8").split(/\r?\n/, 1);
  return notEmpty(line, flag);
}

function notEmpty(text: string, flag: string): string {
  if (text !== "") return text;
  throw new UsageError(`${flag}: the passphrase must not be empty`);
}
