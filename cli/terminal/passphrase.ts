/**
 * Passphrases: from a file, or from who sits at the terminal. Never an argument or a variable, which
 * others on the machine may read.
 *
 * @module
 */

import type { Command, OptionValues } from "@commander-js/extra-typings";
import { Option } from "@commander-js/extra-typings";
import { Buffer } from "node:buffer";
import { stat } from "node:fs/promises";
import process from "node:process";
import type { Context } from "../command.ts";
import { UsageError } from "./failure.ts";
import { bytesOf } from "../store/files.ts";

/** Flags of commands that may need a passphrase. */
export type PassphraseFlags = {
  passphrase?: true;
  passphraseFile?: string;
};

const MOST_BYTES = 4096;

/** `--passphrase` and `--passphrase-file`. */
export function withPassphrase<A extends unknown[], O extends OptionValues>(
  it: Command<A, O>,
  asks: string,
): Command<A, O & PassphraseFlags> {
  it.addOption(
    new Option("--passphrase", `${asks}; it is asked for, and not shown`)
      .conflicts("passphraseFile"),
  ).option("--passphrase-file <file>", "the passphrase is the file's first line; - reads stdin");
  return it as unknown as Command<A, O & PassphraseFlags>;
}

/** The passphrase that the flags give; `null` where they give none. */
export async function passphraseOf(
  context: Context,
  { passphrase, passphraseFile }: PassphraseFlags,
  { twice = false }: { twice?: boolean } = {},
): Promise<string | null> {
  if (passphraseFile !== undefined) return await fromFile(context, passphraseFile);
  if (passphrase !== true) return null;
  const { prompt } = context.io;
  if (prompt === undefined) {
    throw new UsageError("--passphrase needs a terminal to ask on; use --passphrase-file");
  }
  const typed = notEmpty(await prompt("Passphrase: "), "--passphrase");
  if (twice && await prompt("Again: ") !== typed) {
    throw new UsageError("--passphrase: what was typed is not the same twice");
  }
  return typed;
}

async function fromFile({ io }: Context, path: string): Promise<string> {
  const flag = `--passphrase-file ${path}`;
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const it of bytesOf(io, path)) {
    length += it.length;
    if (length > MOST_BYTES) throw new UsageError(`${flag}: it has more than ${MOST_BYTES} bytes`);
    chunks.push(it);
  }
  if (path !== "-" && process.platform !== "win32" && ((await stat(path)).mode & 0o007) !== 0) {
    throw new UsageError(
      `${flag}: it holds a passphrase, and everybody on this machine may use the file; ` +
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
