/**
 * Where `log` reads: the store that flags select, or a server over HTTP.
 *
 * @module
 */

import { readFile } from "node:fs/promises";
import type { Store } from "../../../mod.ts";
import { readIdentity } from "../../../src/keys/identity_file.ts";
import { adding, type Context, type StoreFlags } from "../../command.ts";
import { withOpenStore } from "../../store/open.ts";
import { UsageError } from "../../terminal/failure.ts";
import { type PassphraseFlags, passphraseOf, withPassphrase } from "../../terminal/passphrase.ts";

/** What reads a history, and the names of users in it. */
export type LogSource = Pick<Store, "history" | "follow" | "getUser">;

/** Flags that select a server. */
export type ServerUrlFlags = PassphraseFlags & { url?: string; identity?: string };

/** Adds `--url` and the flags of the caller's identity. */
export const withUrl = adding<ServerUrlFlags>((parent) =>
  withPassphrase(
    parent.option("--url <url>", "server to read over HTTP, with --identity, instead of a store")
      .option("--identity <file>", "with --url: key file of an admin"),
    "the key file is encrypted with a passphrase",
  )
);

/** Opens what flags select, runs `work`, and closes it. */
export async function withLog(
  context: Context,
  flags: StoreFlags & ServerUrlFlags,
  work: (source: LogSource) => Promise<void>,
): Promise<void> {
  const { url, identity: file } = flags;
  if (url === undefined) {
    if (file !== undefined) throw new UsageError("--identity requires --url");
    return await withOpenStore(context, flags, { read: true }, work);
  }
  if (flags.db !== undefined || flags.natsUrl !== undefined) {
    throw new UsageError("--url reads a server, --db and --nats-url a store; use only one of them");
  }
  if (file === undefined) throw new UsageError("--url requires --identity");
  const passphrase = await passphraseOf(context, flags);
  const identity = await readIdentity(file, passphrase === null ? {} : { passphrase });
  const { createClient } = await import("../../../src/client/node/client.ts");
  const ca = flags.ca === undefined ? {} : { ca: await readFile(flags.ca, "utf8") };
  using client = createClient({ url, identity, ...ca });
  await work({
    history: (query) => client.changes(query),
    follow: (options) => client.follow(options),
    getUser: (signPub) => client.getUser(signPub),
  });
}
