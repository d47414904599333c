/**
 * Events of the control plane, for its operator.
 *
 * @module
 */

/** Severity of an event. */
export type Level = "debug" | "info" | "warn" | "error";

/** Something that happened; holds no secrets. Values may come from outside and are not escaped. */
export interface ControlPlaneEvent {
  /** How much it matters. */
  level: Level;
  /**
   * `request` (a request was answered), `refused` (the signature or a permission was missing),
   * `would_refuse` (the same under `soft`, which allows it), `failed` (a 5xx response, with the reason
   * that the caller is not told), `audit` (a user or an invite was changed, an invite claimed, or a
   * room deleted or given another owner, or that was tried: `action` is the route, `by` the caller's key), `overloaded` (requests were refused
   * because of overload: `shed` of them since the last such event, at most one event a second).
   */
  event: "request" | "refused" | "would_refuse" | "failed" | "audit" | "overloaded";
  /** Particulars. */
  [field: string]: string | number | boolean | null | undefined;
}
