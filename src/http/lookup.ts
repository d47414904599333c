/**
 * Looking somebody up who may not be there.
 *
 * @module
 */

import { isStoreError } from "../errors.ts";
import type { User } from "../model.ts";
import type { Store } from "../store.ts";

/** The user, or `null`. */
export async function userOf(
  store: Pick<Store, "getUser">,
  signPub: string,
): Promise<User | null> {
  try {
    return await store.getUser(signPub);
  } catch (error) {
    if (isStoreError(error, "not_found")) return null;
    throw error;
  }
}
