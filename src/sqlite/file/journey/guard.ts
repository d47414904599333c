/**
 * Notices that the control plane of an open file is being switched to a bucket, or has moved.
 *
 * @module
 */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { HealthCheck } from "../../../core/model.ts";
import { FROZEN, frozenError, toStoreError } from "../errors.ts";
import { type FileRole, movedError, readRole } from "../role.ts";
import { asArrays, type Row } from "../../rows.ts";
import { readJourney } from "./journey.ts";

/** A frozen file authorizes nobody after this time: other nodes may serve already. Milliseconds. */
const TRUSTED_MS = 5000;
/** How often reads look, milliseconds: a look costs more than half of a read. */
const LOOK_MS = 10;

/** Guards an open file. */
export class Guard {
  readonly #db: DatabaseSync;
  readonly #path: string;
  readonly #version: StatementSync;
  #seen: unknown;
  #role: FileRole;
  /** When it was first seen frozen. */
  #frozenAt = Infinity;
  #looked = 0;

  /** Reads the present state; a file that has moved already was opened on purpose. */
  constructor(db: DatabaseSync, path: string) {
    this.#db = db;
    this.#path = path;
    this.#version = asArrays(db.prepare("PRAGMA data_version"));
    this.#seen = this.#count();
    this.#role = readRole(db);
    this.isOff = this.#role.role !== "primary";
  }

  /** Whether nothing is guarded. */
  readonly isOff: boolean;

  /**
   * Refuses what a file that has moved would answer.
   *
   * @throws {StoreError} `refused`
   */
  requireHere(attempt: string): void {
    this.#lookNowAndThen();
    this.#refuseMoved(attempt);
  }

  /**
   * Refuses a write, in its transaction.
   *
   * @throws {StoreError} `refused`: it has moved; `unavailable`: it is frozen
   */
  requireWritable(attempt: string): void {
    this.#look();
    this.#refuseMoved(attempt);
    if (this.#role.frozenAt === null || this.isOff) return;
    throw frozenError(attempt, FROZEN + readJourney(this.#db)?.bucket);
  }

  /** Whether the file may authorize anybody. */
  isTrusted(): boolean {
    if (this.isOff) return true;
    this.#lookNowAndThen();
    const { role, frozenAt } = this.#role;
    if (role !== "primary") return false;
    return frozenAt === null ||
      Math.abs(Date.now() - frozenAt) < TRUSTED_MS &&
        performance.now() - this.#frozenAt < TRUSTED_MS;
  }

  /** Returns a failed check while the file does not serve, else nothing. */
  checks(attempt: string): HealthCheck[] {
    try {
      this.requireWritable(attempt);
      return [];
    } catch (error) {
      return [{ name: "journey", ok: false, detail: toStoreError(error, attempt).message }];
    }
  }

  #refuseMoved(attempt: string): void {
    const { role, place } = this.#role;
    if (role === "moved" && !this.isOff) throw movedError(attempt, place!);
  }

  #lookNowAndThen(): void {
    const now = Date.now();
    if (Math.abs(now - this.#looked) < LOOK_MS) return;
    this.#looked = now;
    this.#look();
  }

  #look(): void {
    const count = this.#count();
    if (count === this.#seen) return;
    this.#role = readRole(this.#db);
    // Not before: if reading fails, the next call looks again.
    this.#seen = count;
    if (this.#role.frozenAt === null) this.#frozenAt = Infinity;
    else if (this.#frozenAt === Infinity) this.#frozenAt = performance.now();
  }

  #count(): unknown {
    return (this.#version.get() as unknown as Row)[0];
  }
}
