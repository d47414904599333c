/**
 * Checks the index of admins against the users, and repairs it.
 *
 * @module
 */

import type { FindingOf } from "../../core/checks/findings.ts";
import { counted } from "../../core/text/counted.ts";
import { activeAdmin, readAdminIndex } from "../cache/admins.ts";
import { type Bucket, type Entry, revisionOf } from "../log/bucket.ts";
import { adminKey, parseKey, userKey } from "../records/keys.ts";
import { encodeAdmin } from "../records/values.ts";
import { WrongRevision } from "../log/wire.ts";

/** The active admins and the entries of their index at one point in time. */
export class Admins {
  readonly #active = new Set<string>();
  readonly #named = new Set<string>();

  /** Adds a message of the bucket. */
  take({ key, data }: Entry): void {
    const parsed = parseKey(key);
    if (parsed?.space === "admins") {
      set(this.#named, parsed.signPub, data.length > 0);
    } else if (parsed?.space === "users") {
      const { signPub } = parsed;
      set(this.#active, signPub, data.length > 0 && activeAdmin(key, signPub, data) !== null);
    }
  }

  /** Checks the index, and repairs it with `repair`. */
  async check(bucket: Bucket, opTimeout: number, repair: boolean): Promise<FindingOf<"admins">> {
    const { complete } = await readAdminIndex(bucket, 0, opTimeout);
    const missing = [...this.#active].filter((it) => !this.#named.has(it));
    const extra = [...this.#named].filter((it) => !this.#active.has(it));
    const ok = (message: string) => ({ check: "admins", level: "ok", message }) as const;
    if (!complete && extra.length === 0) {
      return ok("The index of admins does not exist yet; it is built when needed");
    }
    if (missing.length + extra.length === 0) {
      return ok(`The index contains ${counted(this.#active.size, "active admin")}`);
    }
    if (repair) {
      for (const entry of [...missing, ...extra]) await mendEntry(bucket, entry, opTimeout);
    }
    return {
      check: "admins",
      level: "problem",
      message: `The index of admins has ${missing.length} missing and ` +
        `${
          counted(extra.length, "extra entry", "extra entries")
        }, as version 0.1 leaves it; use --repair to fix it`,
      ...(repair ? { repaired: true } : {}),
    };
  }
}

function set(names: Set<string>, name: string, isIn: boolean): void {
  if (isIn) names.add(name);
  else names.delete(name);
}

/** Writes or removes an entry according to its user. */
async function mendEntry(bucket: Bucket, signPub: string, opTimeout: number): Promise<void> {
  const deadline = Date.now() + opTimeout;
  const user = userKey(signPub);
  const entry = await bucket.get(user, deadline);
  const isActive = entry !== null && activeAdmin(user, signPub, entry.data) !== null;
  const guard = { key: user, revision: revisionOf(entry) };
  const value = isActive ? encodeAdmin() : null;
  try {
    await bucket.commit([{ key: adminKey(signPub), value, guard }], deadline, { alone: true });
  } catch (error) {
    // The user was changed meanwhile, including the entry.
    if (!(error instanceof WrongRevision)) throw error;
  }
}
