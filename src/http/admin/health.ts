/**
 * `/readyz`: whether requests are welcome.
 *
 * @module
 */

import type { BlobStore } from "../../blobs/types.ts";
import type { HealthCheck } from "../../core/model.ts";
import type { Store } from "../../core/store.ts";
import { kept } from "../../core/async/kept.ts";
import { within } from "../../core/async/wait.ts";
import type { ControlPlaneOptions } from "../options.ts";

/** What `/readyz` answers. */
export interface Readiness {
  /** Whether every check is. */
  ok: boolean;
  /** What was looked at. */
  checks: readonly HealthCheck[];
}

/** An answer is good for so long, milliseconds: whoever asks all the time costs no more than that. */
const GOOD_FOR_MS = 200;

/** A check takes at most this long, milliseconds: no answer is an answer. */
const PATIENCE_MS = 2_000;

/** Makes the question. */
export function readinessOf(
  store: Pick<Store, "health">,
  blobs: BlobStore | null,
  more: ControlPlaneOptions["readiness"],
): () => Promise<Readiness> {
  return kept(GOOD_FOR_MS, async () => {
    const found = await Promise.all([
      inTime("store", async () => (await store.health()).checks),
      blobs === null
        ? []
        : inTime("blobs", async () => [{ name: "blobs", ...await blobs.health() }]),
      more === undefined ? [] : inTime("surroundings", more),
    ]);
    const checks = found.flat();
    return { ok: checks.every((check) => check.ok), checks };
  });
}

/** What a check finds; one that fails or hangs has found that it is not so. */
async function inTime(
  name: string,
  check: () => Promise<readonly HealthCheck[]>,
): Promise<readonly HealthCheck[]> {
  const detail = `No answer within ${PATIENCE_MS} ms`;
  try {
    return await within(PATIENCE_MS, check(), () => [{ name, ok: false, detail }]);
  } catch {
    return [{ name, ok: false, detail: "The check failed" }];
  }
}
