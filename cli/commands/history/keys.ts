/**
 * The service key that signs heads of the history.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { isStoreError } from "../../../src/core/errors.ts";
import type { NkeyPair } from "../../../src/keys/nkey.ts";
import { loginKey } from "../../../src/nats/connection/connect.ts";
import { loadServiceKeys } from "../../../src/nats/connection/service_keys.ts";
import type { Context, StoreFlags } from "../../command.ts";
import { serviceKeysPath } from "../../settings/settings.ts";
import { serverSettings } from "../../store/chosen.ts";
import { say } from "../../terminal/output.ts";

/**
 * Returns the service key of the store that flags select: the one they name, that of the credentials, else
 * the one in the server's settings, or next to the file. Null if none is readable.
 *
 * @param given The flags as given, without what the settings add
 */
export async function serviceKey(context: Context, given: StoreFlags): Promise<NkeyPair | null> {
  const { nkeySeedFile, creds } = given;
  if (nkeySeedFile !== undefined) {
    return loginKey({ nkeySeed: await readFile(nkeySeedFile, "utf8") });
  }
  if (creds !== undefined) return loginKey({ credentials: await readFile(creds, "utf8") });
  const path = given.serviceKeys ?? await defaultPath(context, given);
  if (path === null || !existsSync(path)) return null;
  try {
    return (await loadServiceKeys(path)).service;
  } catch (error) {
    if (given.serviceKeys !== undefined || !isStoreError(error)) throw error;
    await say(context, `warning: ${error.message}`);
    return null;
  }
}

async function defaultPath({ io }: Context, { db, natsUrl }: StoreFlags): Promise<string | null> {
  if (db !== undefined) return `${dirname(db)}/service-keys.json`;
  // Another server's bucket has other keys.
  return natsUrl === undefined ? serviceKeysPath((await serverSettings(io.env)).settings) : null;
}
