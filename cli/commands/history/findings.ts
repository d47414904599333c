/**
 * What `doctor` finds about the history.
 *
 * @module
 */

import type { Store } from "../../../mod.ts";
import type { FindingOf } from "../../../src/core/checks/findings.ts";
import { isStoreError } from "../../../src/core/errors.ts";
import { counted } from "../../../src/core/text/counted.ts";
import { verifyHistory } from "../../../src/history/mod.ts";
import { signPubOf } from "../../../src/keys/nkey.ts";
import type { Context, StoreFlags } from "../../command.ts";
import { serviceKey } from "./keys.ts";

/** How many of the newest entries are verified. */
const NEWEST = 10_000;
/** Problems that are shown. */
const SHOWN = 10;

/**
 * Verifies the newest entries.
 *
 * @param given The flags as given, without what the settings add
 * @param open Opens the store read-only
 */
export async function historyFindings(
  context: Context,
  given: StoreFlags,
  open: () => Promise<Store>,
): Promise<FindingOf<"history">[]> {
  const of = (level: FindingOf["level"], message: string) =>
    ({ check: "history", level, message }) as const;
  const { signal } = context.io;
  try {
    await using store = await open();
    const key = await serviceKey(context, given);
    const { problems, entries, end } = await verifyHistory(store, {
      last: NEWEST,
      ...key === null ? {} : { keys: [signPubOf(key.publicKey)!] },
      signal,
    });
    if (problems.length === 0) {
      const which = `the newest ${counted(entries, "entry", "entries")}, up to ${
        end.revision ?? "none"
      }`;
      return [of("ok", entries === 0 ? "The history is empty" : `Nothing was changed in ${which}`)];
    }
    return problems.slice(0, SHOWN).map(({ message }) =>
      of("problem", `${message}; run membershipd log verify`)
    );
  } catch (error) {
    signal.throwIfAborted();
    if (!isStoreError(error)) throw error;
    if (error.code !== "corrupt") return [of("unknown", error.message)];
    return [of("problem", `${error.message}; run membershipd log verify`)];
  }
}
