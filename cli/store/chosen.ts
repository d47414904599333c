/**
 * The store that flags name, or else the one that the server's settings name.
 *
 * @module
 */

import type { Context, NatsFlags, StoreFlags } from "../command.ts";
import { UsageError } from "../terminal/failure.ts";
import { isManaged } from "../serve/settings/guards.ts";
import { readConfig, resolve, type Resolved } from "../serve/settings/resolve.ts";
import { serviceKeysPath, type Settings } from "../serve/settings/settings.ts";

/** The server's settings as its environment and the file of `UNIBUS_CONFIG` have them. */
export async function serverSettings(env: Context["io"]["env"]): Promise<Resolved> {
  const file = env.UNIBUS_CONFIG ? await readConfig(env.UNIBUS_CONFIG) : null;
  return resolve({ flags: {}, env, file });
}

/** The SQLite file that a flag names, or else the server's settings. */
export async function chosenFile({ io: { env } }: Context, db?: string): Promise<string> {
  return db ?? (await serverSettings(env)).settings.db;
}

/**
 * Flags that name a store: as they were given, else the server's. Who administers a server without
 * naming its store must reach the one it serves, not a file that happens to lie at the default place.
 */
export async function chosenStore<F extends StoreFlags>(
  { io: { env } }: Context,
  flags: F,
): Promise<F> {
  if (flags.db !== undefined || flags.natsUrl !== undefined) return flags;
  const { settings } = await serverSettings(env);
  return {
    ...flags,
    ...settings.store === "sqlite" ? { db: settings.db } : bucketOf(settings, flags),
  };
}

function bucketOf(settings: Settings, flags: NatsFlags): Partial<NatsFlags> {
  const { bucket, ca, natsUrl, tlsCert } = settings;
  const isOurs = isManaged(settings);
  return {
    natsUrl: isOurs ? [ownUrl(settings)] : [...natsUrl],
    ...present({ bucket: flags.bucket ?? bucket, ca: flags.ca ?? ca }),
    ...present(isLoggedIn(flags) ? {} : loginOf(settings, isOurs)),
    ...present(isOurs && flags.ca === undefined ? { localCert: tlsCert } : {}),
  };
}

/** Where the nats-server that the server starts listens on this machine. */
function ownUrl({ bind, natsPort, tlsCert }: Settings): string {
  if (natsPort === 0) {
    throw new UsageError(
      "The server's settings give its nats-server any free port; name it with --nats-url",
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

/** Without what has no value. */
function present(values: Record<string, string | null>): Partial<NatsFlags> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null));
}
