/**
 * Whether an operator has decided what to do about a file whose follower has ended.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { connect } from "../../sqlite/file/connect.ts";
import { readRole } from "../../sqlite/file/role.ts";
import { fileIdentity } from "../../sqlite/health.ts";
import { reading } from "../file/reading.ts";

/** Looks at a file whose follower has ended, until it can be followed with again. */
export class Settled {
  readonly #path: string;
  readonly #identity: string | null;
  /** Whether the alarm is kept in the file, or was: one that could not be stored cannot be seen to go. */
  isKept = false;

  /** @param path The file */
  constructor(path: string) {
    this.#path = path;
    this.#identity = existsSync(path) ? fileIdentity(path) : null;
  }

  /** Whether the file was renamed or removed, or loaded again without its alarm. */
  look(): boolean {
    try {
      if (!existsSync(this.#path)) return true;
      const held = read(this.#path);
      if (held === null) return false;
      if (held.alarm !== null) this.isKept = true;
      const isOther = this.isKept || fileIdentity(this.#path) !== this.#identity;
      return isOther && held.alarm === null && held.exact;
    } catch {
      // A repair has it for itself, or it is damaged.
      return false;
    }
  }
}

/** What a file holds; `null` if it is not a follower's, or was not loaded. */
function read(path: string) {
  const db = connect(path, { busyTimeout: 0, readOnly: true });
  try {
    return readRole(db).role === "follower" ? reading(db).held() : null;
  } finally {
    db.close();
  }
}
