/**
 * New keys for a control plane that was promoted: nodes of the old one have the old keys.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";
import { toStoreError } from "../../src/files/errors.ts";
import { stamp } from "../../src/move/steps.ts";
import { loadServiceKeys } from "../../src/nats/connection/service_keys.ts";
import { serviceKeysPath, type Settings } from "../settings/settings.ts";

/** A file with new keys. */
export interface NewKeys {
  /** The file. */
  path: string;
  /** What the old one is called now. */
  saved: string;
}

/** Replaces the service keys and the route secret, where they are in files that exist. */
export async function renewKeys(settings: Settings): Promise<NewKeys[]> {
  const renewed: NewKeys[] = [];
  const renew = async (path: string | null, create: (path: string) => Promise<unknown>) => {
    if (path === null || !existsSync(path)) return;
    const saved = `${path}.${stamp()}`;
    try {
      await rename(path, saved);
      await create(path);
    } catch (error) {
      throw toStoreError(error, `Replacing ${path}`);
    }
    renewed.push({ path, saved });
  };
  await renew(serviceKeysPath(settings), (path) => loadServiceKeys(path, { create: true }));
  await renew(
    settings.clusterPassFile,
    (path) =>
      writeFile(path, `${randomBytes(32).toString("base64url")}\n`, { mode: 0o600, flag: "wx" }),
  );
  return renewed;
}
