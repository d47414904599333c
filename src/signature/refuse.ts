import { StoreError } from "../core/errors.ts";

/** Returns the error of a request that is not authenticated; `field` names the invalid part. */
export function refuse(field: string, message: string, cause?: unknown): StoreError {
  const options = cause === undefined ? { field } : { field, cause };
  return new StoreError("unauthenticated", message, options);
}
