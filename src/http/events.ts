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
   * reason that the caller is not told), `audit` (a user or an invite was changed or an invite
   * claimed, or a room deleted: `action` is the route, `by` the key that asked), `overloaded` (requests were refused because there was too
   * much to do: `shed` since it was last told, at most once a second).
   */
  event: "request" | "refused" | "would_refuse" | "failed" | "audit" | "overloaded";
  /** Particulars. */
  [field: string]: string | number | boolean | null | undefined;
}
