/**
 * What runs while this process writes the file: the applier, its probes, and the check of the file.
 *
 * @module
 */

import type { StoreError } from "../../core/errors.ts";
import { Applier, type ApplierOptions } from "../stream/applier.ts";
import { Probes } from "../stream/probes.ts";
import type { HistoryState } from "../history/table.ts";
import { HistoryFiller } from "./history_filler.ts";
import type { Findings } from "./audits.ts";
import { damagedFile } from "./degraded.ts";
import { SelfCheck } from "./self_check.ts";

/** What is applied to, and whom to tell. */
export interface ApplyingOptions extends ApplierOptions, Findings {
  /** The file. */
  path: string;
  /** Whether a history that is not the bucket's is discarded. */
  accept: boolean;
  /** The connection was lost meanwhile: compares file and stream. */
  compare(): Promise<void>;
}

/** Applies until it is stopped. */
export class Applying {
  readonly #options: ApplyingOptions;
  readonly #applier: Applier;
  #probes: Probes | null = null;
  #check: SelfCheck | null = null;
  #filler: HistoryFiller | null = null;
  /** Until then the file is not checked. */
  #resting = 0;
  #stopped = false;

  constructor(options: ApplyingOptions) {
    this.#options = options;
    const onHeld: ApplierOptions["onHeld"] = (held) => {
      // What another process may have stored is looked at first.
      options.onHeld(held);
      if (this.#stopped) return;
      if (performance.now() >= this.#resting) {
        this.#check ??= new SelfCheck(options.path, this.#onDamage);
      }
      this.#filler ??= new HistoryFiller(options);
      this.#filler.heard();
    };
    this.#applier = new Applier({ ...options, onHeld });
  }

  /** The last message that came. */
  get received(): number {
    return this.#applier.exactness.received;
  }

  /** The last sequence of the stream when that was last known. */
  get last(): number | null {
    return this.#probes?.last ?? null;
  }

  /** The history in the file; `null` before it is known. */
  get history(): HistoryState | null {
    return this.#filler?.state ?? null;
  }

  /** Begins. */
  async start(): Promise<void> {
    await this.#applier.start();
    if (!this.#stopped) {
      this.#probes = new Probes(this.#options.bucket, this.#applier, this.#options);
    }
  }

  /** Ends the check for so many milliseconds; resolves when it has let go of the file. */
  async rest(ms: number): Promise<void> {
    this.#resting = performance.now() + ms;
    const check = this.#check;
    this.#check = null;
    await check?.stop();
  }

  /** Ends; resolves when the check has let go of the file. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#probes?.stop();
    this.#applier.stop();
    this.#filler?.stop();
    await this.#check?.stop();
  }

  readonly #onDamage = ({ message }: StoreError): void => {
    this.#options.onDamage(damagedFile(this.#options.bucket.name, message));
  };
}
