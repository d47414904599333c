/**
 * Opens the store that flags select.
 *
 * @module
 */

import { readFile } from "node:fs/promises";
import type { Store } from "../../mod.ts";
import { isStoreError, StoreError } from "../../src/core/errors.ts";
import { systemCode } from "../../src/core/host/system_code.ts";
import type { NatsOptions, TlsOptions } from "../../src/nats/connection/connect.ts";
import { audited } from "./audit.ts";
import { chosenStore } from "./chosen.ts";
import { makeFolder } from "./folder.ts";
import type { Context, ServerFlags, StoreFlags } from "../command.ts";
import { orAbort } from "../../src/core/async/wait.ts";
import { BadValue, foundText, natsUrl } from "../settings/read.ts";
import { UsageError } from "../terminal/failure.ts";
import { printable, say } from "../terminal/output.ts";

/** Loads both backends, only when a command needs one: help and usage errors do not. */
const backends = () => import("../../mod.ts");

/** Connection options for the servers that flags name. */
export type NatsTarget = NatsOptions & { bucket?: string; bootstrapTimeout: number };

const NATS_ONLY = {
  bucket: "--bucket",
  ca: "--ca",
  nkeySeedFile: "--nkey-seed-file",
  creds: "--creds",
  serviceKeys: "--service-keys",
} as const;

/** Rejects conflicting flags. */
export function checkStoreFlags(flags: StoreFlags): void {
  if (flags.natsUrl !== undefined) {
    if (flags.db === undefined) return;
    throw new UsageError("--db and --nats-url select different stores; use only one of them");
  }
  for (const [name, flag] of Object.entries(NATS_ONLY)) {
    if (flags[name as keyof typeof NATS_ONLY] !== undefined) {
      throw new UsageError(`${flag} requires --nats-url`);
    }
  }
}

/** Returns the connection options for the servers; reads the files that flags name. */
export async function natsTarget(
  { io }: Context,
  flags: ServerFlags,
): Promise<NatsTarget> {
  const { bucket, ca, nkeySeedFile, creds, serviceKeys, localCert, connectTimeout } = flags;
  const servers = flags.natsUrl.map(serverUrl);
  // The library ignores the scheme, and a tls:// URL must not result in a cleartext connection.
  const demandsTls = ca !== undefined || servers.some((it) => it.startsWith("tls:"));
  if (ca !== undefined) await text("--ca", ca);
  return {
    servers,
    name: "membershipd",
    bootstrapTimeout: Math.ceil(connectTimeout * 1000),
    signal: io.signal,
    ...(bucket === undefined ? {} : { bucket }),
    ...(demandsTls ? { tls: await tlsOf(ca, localCert) } : {}),
    ...(nkeySeedFile === undefined
      ? {}
      : { nkeySeed: await text("--nkey-seed-file", nkeySeedFile) }),
    ...(creds === undefined ? {} : { credentials: await text("--creds", creds) }),
    ...(serviceKeys === undefined ? {} : { nkeySeed: await serviceSeed(serviceKeys) }),
  };
}

/** Returns TLS options; our own nats-server has a local address but a certificate for a name. */
async function tlsOf(ca?: string, localCert?: string): Promise<TlsOptions> {
  const trust = ca === undefined ? {} : { ca };
  if (localCert === undefined) return ca === undefined ? {} : { caFile: ca };
  return (await import("../../src/nats/connection/local_tls.ts")).localTls({
    cert: localCert,
    ...trust,
  });
}

/** Parses a server's URL. One with a password is not repeated, nor accepted: see `ps`. */
function serverUrl(given: string): string {
  try {
    return natsUrl(given);
  } catch (error) {
    if (!(error instanceof BadValue)) throw error;
    throw new UsageError(`--nats-url ${error.message}${foundText(given)}`);
  }
}

async function text(flag: string, path: string): Promise<string> {
  try {
    return (await readFile(path, "utf8")).trim();
  } catch (cause) {
    const why = systemCode(cause) === "ENOENT" ? "no such file" : "cannot be read";
    throw new StoreError("invalid", `${flag} ${path}: ${why}`, { field: flag.slice(2), cause });
  }
}

/** Reads the seed of the service user, which can access the bucket. */
async function serviceSeed(path: string): Promise<string> {
  const { loadServiceKeys } = await import("../../src/nats/connection/service_keys.ts");
  return (await loadServiceKeys(path)).service.seed;
}

/** Options of {@link withOpenStore}. */
export interface Use {
  /** Open read-only: nothing is changed. */
  read?: boolean;
  /** Create the file or the bucket if missing, and the folder of the file of the server's settings. */
  create?: boolean;
  /** Require exclusive use, to replace the contents. A file stays locked until it is closed. */
  alone?: boolean;
}

/**
 * Opens the store that flags or the server's settings select, runs `work`, and closes the store.
 * When reading a file whose control plane has moved, prints a warning.
 */
export async function withOpenStore(
  context: Context,
  given: StoreFlags,
  { read = false, create = false, alone = false }: Use,
  work: (store: Store, chosen: StoreFlags) => Promise<void>,
): Promise<void> {
  const flags = await chosenStore(context, given);
  checkStoreFlags(flags);
  context.io.signal.throwIfAborted();
  const { natsUrl, db = "" } = flags;
  // A folder named on the command line must be there: it may be a slip.
  if (create && natsUrl === undefined && given.db === undefined) await makeFolder(db);
  const store = natsUrl === undefined
    ? await openFile(db, { readOnly: read, create, alone })
    : await openNats(context, { ...flags, natsUrl }, create, alone);
  try {
    if (store.created) await say(context, `created an empty control plane in ${placeOf(flags)}`);
    if (read && natsUrl === undefined) await warnOfMove(context, db);
    await work(read ? store : await audited(store, context), flags);
  } finally {
    await store.close();
  }
}

function placeOf({ db, bucket = "UNIBUS" }: StoreFlags): string {
  return db ?? `bucket ${bucket}`;
}

async function warnOfMove(context: Context, path: string): Promise<void> {
  const { movedOf, showMoved } = await import("../../src/sqlite/file/role.ts");
  const moved = movedOf(path);
  if (moved !== null) {
    await say(context, `warning: ${path} is stale: ${printable(showMoved(moved))}`);
  }
}

/** Opens a SQLite file. */
export async function openFile(
  path: string,
  { alone = false, ...options }: { readOnly: boolean; create: boolean; alone?: boolean },
): Promise<Store> {
  const { openSqlite } = await backends();
  // Wait for a command that is about to finish, but not for a server.
  return openSqlite(path, alone ? { ...options, exclusive: true, busyTimeout: 500 } : options);
}

/** Opens the bucket that flags name; stops immediately when interrupted. */
export async function openNats(
  context: Context,
  flags: ServerFlags,
  create: boolean,
  alone = false,
): Promise<Store> {
  const options = await natsTarget(context, flags);
  const { signal } = context.io;
  // Loaded on demand, like the backends.
  const { refuseClientsAccount } = await import("./account.ts");
  if (create) await refuseClientsAccount(options, signal);
  if (alone) await refuseUsed(options);
  const { openJetStream } = await backends();
  const { node } = flags;
  const opening = openJetStream({ ...options, create: create && node === undefined });
  try {
    return await orAbort(opening, signal, (store) => void store.close());
  } catch (error) {
    if (!isStoreError(error, "not_found")) throw error;
    await refuseClientsAccount(options, signal);
    if (node === undefined) throw error;
    throw new StoreError("not_found", `Node ${node} has joined and waits for the control plane`, {
      cause: error,
      hint: "run membershipd grow on the first node",
    });
  }
}

/**
 * Refuses a bucket that a server is using.
 *
 * @throws {StoreError} refused: a server is using the bucket
 */
async function refuseUsed(target: NatsTarget): Promise<void> {
  const { openBucket } = await import("../../src/jetstream/mod.ts");
  const { refuseInUse } = await import("../../src/jetstream/in_use.ts");
  try {
    const { bucket, end } = await openBucket({ ...target, create: false });
    await refuseInUse(bucket, Date.now() + target.bootstrapTimeout).finally(end);
  } catch (error) {
    if (!isStoreError(error, "not_found")) throw error;
  }
}
