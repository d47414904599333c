/**
 * `/readyz`: whether the server can handle requests.
 *
 * @module
 */

import type { BlobStore } from "../../blobs/types.ts";
import type { HealthCheck } from "../../core/model.ts";
import type { Store } from "../../core/store.ts";
import { kept } from "../../core/async/kept.ts";
import { within } from "../../core/async/wait.ts";
import type { ControlPlaneOptions } from "../options.ts";

/** The body of `/readyz`. */
export interface Readiness {
  /** Whether every check is ok. */
  ok: boolean;
  /** The checks. */
  checks: readonly HealthCheck[];
}

/** How long a result is kept, milliseconds: frequent requests do not cause more checks. */
const GOOD_FOR_MS = 200;

/** Time limit of a check, milliseconds; one that takes longer has failed. */
const PATIENCE_MS = 2_000;

/** Makes the check of everything that requests need. */
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

/** The results of a check; one that fails or hangs is not ok. */
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
