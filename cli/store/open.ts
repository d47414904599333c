/**
 * From flags to a store.
 *
 * @module
 */

import { readFile } from "node:fs/promises";
import type { Store } from "../../mod.ts";
import { isStoreError, StoreError } from "../../src/core/errors.ts";
import { systemCode } from "../../src/core/host/system_code.ts";
import type { NatsOptions, TlsOptions } from "../../src/nats/connection/connect.ts";
import { show } from "../../src/core/validate.ts";
import { audited } from "./audit.ts";
import { chosenStore } from "./chosen.ts";
import type { Context, NatsFlags, StoreFlags } from "../command.ts";
import { orAbort } from "../../src/core/async/wait.ts";
import { UsageError } from "../terminal/failure.ts";
import { printable, say } from "../terminal/output.ts";

/** Both backends, loaded when a command is about to use one: help and usage errors do without. */
const backends = () => import("../../mod.ts");

/** Connecting to the servers that flags name. */
export type NatsTarget = NatsOptions & { bucket?: string; bootstrapTimeout: number };

const NATS_ONLY = {
  bucket: "--bucket",
  ca: "--ca",
  nkeySeedFile: "--nkey-seed-file",
  creds: "--creds",
  serviceKeys: "--service-keys",
} as const;

/** Refuses flags that contradict each other. */
export function checkStoreFlags(flags: StoreFlags): void {
  if (flags.natsUrl !== undefined) {
    if (flags.db === undefined) return;
    throw new UsageError("--db and --nats-url name two stores; give one of them");
  }
  for (const [name, flag] of Object.entries(NATS_ONLY)) {
    if (flags[name as keyof typeof NATS_ONLY] !== undefined) {
      throw new UsageError(`${flag} needs --nats-url`);
    }
  }
}

/** The options that reach the servers; reads the files that flags name. */
export async function natsTarget(
  { io }: Context,
  flags: NatsFlags & { natsUrl: string[] },
): Promise<NatsTarget> {
  const { bucket, ca, nkeySeedFile, creds, serviceKeys, localCert, connectTimeout } = flags;
  const servers = flags.natsUrl.map(serverUrl);
  // The library ignores the scheme, and a server that was asked for with TLS must not do without.
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

/** Our own nats-server is reached by an address of this machine, its certificate is for a name. */
async function tlsOf(ca?: string, localCert?: string): Promise<TlsOptions> {
  const trust = ca === undefined ? {} : { ca };
  if (localCert === undefined) return ca === undefined ? {} : { caFile: ca };
  return (await import("../../src/nats/connection/local_tls.ts")).localTls({
    cert: localCert,
    ...trust,
  });
}

/** Checks a server's URL. A password in it would stand in the list of processes, so none is taken, nor shown. */
function serverUrl(given: string): string {
  const url = URL.parse(given.includes("://") ? given : `nats://${given}`);
  if (given.includes("@")) {
    throw new UsageError(
      "--nats-url takes no user and password; give --nkey-seed-file or --creds instead",
    );
  }
  const known = url?.protocol === "nats:" || url?.protocol === "tls:";
  if (
    !known || url.hostname === "" || !/^\/?$/.test(url.pathname) || url.search + url.hash !== ""
  ) {
    throw new UsageError(
      `--nats-url must be such as nats://127.0.0.1:4222 or tls://host:4222, found ${show(given)}`,
    );
  }
  return url.href.replace(/\/$/, "");
}

async function text(flag: string, path: string): Promise<string> {
  try {
    return (await readFile(path, "utf8")).trim();
  } catch (cause) {
    const why = systemCode(cause) === "ENOENT" ? "no such file" : "cannot be read";
    throw new StoreError("invalid", `${flag} ${path}: ${why}`, { field: flag.slice(2), cause });
  }
}

/** The seed of the service user, who reaches the bucket on a server that asks who connects. */
async function serviceSeed(path: string): Promise<string> {
  const { loadServiceKeys } = await import("../../src/nats/connection/service_keys.ts");
  return (await loadServiceKeys(path)).service.seed;
}

/** How a command uses the store. */
export interface Use {
  /** Only reads: a file is not altered, nothing is made. */
  read?: boolean;
  /** May make the file or the bucket. */
  create?: boolean;
  /** Replaces what is there: nobody else may use it. A file is held until it is closed. */
  alone?: boolean;
}

/**
 * Opens the store that flags or the server's settings choose, for `work`, and closes it. Of a file whose
 * control plane moved, reading says so.
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
  const store = natsUrl === undefined
    ? await openFile(db, { readOnly: read, create: create && !read, alone })
    : await openNats(context, { ...flags, natsUrl }, create && !read, alone);
  try {
    if (read && natsUrl === undefined) await warnOfMove(context, db);
    await work(read ? store : await audited(store, context), flags);
  } finally {
    await store.close();
  }
}

async function warnOfMove(context: Context, path: string): Promise<void> {
  const { movedOf, showMoved } = await import("../../src/sqlite/file/moved.ts");
  const moved = movedOf(path);
  if (moved !== null) {
    await say(context, `warning: ${path} is stale: ${printable(showMoved(moved))}`);
  }
}

/** Opens an SQLite file. */
export async function openFile(
  path: string,
  { alone = false, ...options }: { readOnly: boolean; create: boolean; alone?: boolean },
): Promise<Store> {
  const { openSqlite } = await backends();
  // Who is just finishing is waited for; a server is not.
  return openSqlite(path, alone ? { ...options, exclusive: true, busyTimeout: 500 } : options);
}

/** Opens the bucket that flags name; gives up at once when interrupted. */
export async function openNats(
  context: Context,
  flags: NatsFlags & { natsUrl: string[] },
  create: boolean,
  alone = false,
): Promise<Store> {
  const options = await natsTarget(context, flags);
  // Loaded with the backends only, like them.
  if (create) await (await import("./account.ts")).refuseClientsAccount(options, context.io.signal);
  if (alone) await refuseUsed(options);
  const { openJetStream } = await backends();
  return await orAbort(
    openJetStream({ ...options, create }),
    context.io.signal,
    (store) => void store.close(),
  );
}

/** `refused` when a server uses the bucket; none is made. */
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
