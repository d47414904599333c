/**
 * Selects the store: the one that flags name, else the one in the server's settings.
 *
 * @module
 */

import type { Context, NatsFlags, ServerFlags, StoreFlags } from "../command.ts";
import { UsageError } from "../terminal/failure.ts";
import { isManaged } from "../settings/guards.ts";
import { readConfig, type Resolved, resolveHere } from "../settings/resolve.ts";
import { followerPath, serviceKeysPath, type Settings } from "../settings/settings.ts";
import { placed } from "./placed.ts";

/**
 * Reads the server's settings from its environment variables, the file in `UNIBUS_CONFIG` and its
 * node file, with the store that it serves now.
 */
export async function serverSettings(env: Context["io"]["env"]): Promise<Resolved> {
  const file = env.UNIBUS_CONFIG ? await readConfig(env.UNIBUS_CONFIG) : null;
  return await placed(await resolveHere({ flags: {}, env, file }));
}

/** Returns the path of the SQLite file: the flag's, else the one in the server's settings. */
export async function chosenFile({ io: { env } }: Context, db?: string): Promise<string> {
  return db ?? (await serverSettings(env)).settings.db;
}

/** Returns the path of the follower's file: the flag's, else the one of the server's settings. */
export async function chosenFollower({ io: { env } }: Context, path?: string): Promise<string> {
  if (path !== undefined) return path;
  const { settings } = await serverSettings(env);
  const found = followerPath({ ...settings, store: "jetstream" });
  if (found === null) {
    throw new UsageError("The server's settings say --follower none; name the file");
  }
  return found;
}

/**
 * Returns the flags that name a store: the given ones, else those from the server's settings. A
 * command without store flags must reach the store that the server serves, not a file that happens
 * to be at the default path.
 */
export async function chosenStore<F extends StoreFlags>(
  { io: { env } }: Context,
  flags: F,
): Promise<F> {
  if (flags.db !== undefined || flags.natsUrl !== undefined) return flags;
  const { settings, node } = await serverSettings(env);
  return {
    ...flags,
    ...settings.store === "sqlite" ? { db: settings.db } : natsFlagsOf(settings, flags),
    ...node?.state === "clustered" ? { node: node.name } : {},
  };
}

/** Returns the flags with a NATS server: the given ones, else the server's own one from its settings. */
export async function chosenServer<F extends NatsFlags>(
  { io: { env } }: Context,
  flags: F,
): Promise<F & ServerFlags> {
  const { natsUrl } = flags;
  if (natsUrl !== undefined) return { ...flags, natsUrl };
  const { settings } = await serverSettings(env);
  const { natsUrl: chosen = [], ...found } = natsFlagsOf(settings, flags);
  return { ...flags, ...found, natsUrl: chosen };
}

/** Returns the flags for the bucket and the NATS server of the server's settings. */
export function natsFlagsOf(settings: Settings, flags: NatsFlags): Partial<NatsFlags> {
  const { bucket, ca, natsUrl, tlsCert } = settings;
  const isOurs = isManaged(settings);
  return {
    natsUrl: isOurs ? [ownUrl(settings)] : [...natsUrl],
    ...present({ bucket: flags.bucket ?? bucket, ca: flags.ca ?? ca }),
    ...present(isLoggedIn(flags) ? {} : loginOf(settings, isOurs)),
    ...present(isOurs && flags.ca === undefined ? { localCert: tlsCert } : {}),
  };
}

/** Returns the local URL of the server's own nats-server. */
function ownUrl({ bind, natsPort, tlsCert }: Settings): string {
  if (natsPort === 0) {
    throw new UsageError(
      "The nats-server's port is not fixed in the server's settings; use --nats-url",
    );
  }
  const host = { "0.0.0.0": "127.0.0.1", "::": "[::1]" }[bind] ??
    (bind.includes(":") ? `[${bind}]` : bind);
  return `${tlsCert === null ? "nats" : "tls"}://${host}:${natsPort}`;
}

function isLoggedIn({ nkeySeedFile, creds, serviceKeys }: NatsFlags): boolean {
  return [nkeySeedFile, creds, serviceKeys].some((it) => it !== undefined);
}

function loginOf(settings: Settings, isOurs: boolean): Record<string, string | null> {
  const { nkeySeedFile, creds, serviceKeys } = settings;
  if (isOurs) return { serviceKeys: serviceKeysPath(settings) };
  if (nkeySeedFile !== null) return { nkeySeedFile };
  return creds !== null ? { creds } : { serviceKeys };
}

/** Omits entries without a value. */
function present(values: Record<string, string | null>): Partial<NatsFlags> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null));
}
