/**
 * What the control plane tells whoever runs it.
 *
 * @module
 */

/** How much an event matters. */
export type Level = "debug" | "info" | "warn" | "error";

/** Something that happened; holds no secrets. Values may come from outside and are not escaped. */
export interface ControlPlaneEvent {
  /** How much it matters. */
  level: Level;
  /**
   * What it is: `request` (one was answered), `refused` (a signature or a right was missing),
   * `would_refuse` (the same under `soft`, which lets it pass), `failed` (an answer of 5xx, with the
   * reason that the caller is not told), `overloaded` (requests were refused because there was too
   * much to do: `shed` since it was last told, at most once a second).
   */
  event: "request" | "refused" | "would_refuse" | "failed" | "overloaded";
  /** Particulars. */
  [field: string]: string | number | boolean | null | undefined;
}
