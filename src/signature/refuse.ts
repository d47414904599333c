import { StoreError } from "../core/errors.ts";

/** The one error of a request whose sender is not proved; `field` names the part at fault. */
export function refuse(field: string, message: string, cause?: unknown): StoreError {
  const options = cause === undefined ? { field } : { field, cause };
  return new StoreError("unauthenticated", message, options);
}
