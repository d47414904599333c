/**
 * What is wrong while the stream is what it was: the store goes on.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import type { Held } from "../file/messages.ts";

/** Makes the error for records that are not valid; `null` if all are. */
export function invalidRecords({ bucket, quarantined, invalid }: Held): StoreError | null {
  if (invalid === null) return null;
  const { key, problem } = invalid;
  const found = quarantined === 1
    ? `a record is not valid: ${key}: ${problem}`
    : `${quarantined} records are not valid, such as ${key}: ${problem}`;
  return new StoreError("corrupt", `Following bucket ${bucket}: ${found}`, {
    field: "invalid",
    hint: "run membershipd doctor, then write the records again or delete them",
  });
}

/** Makes the error for a file that is not as the follower wrote it. */
export function damagedFile(bucket: string, found: string): StoreError {
  return new StoreError(
    "corrupt",
    `Following bucket ${bucket}: the follower's file is damaged: ${found}`,
    {
      field: "file",
      hint: "run membershipd repair --accept to rename the file and to copy the bucket again",
    },
  );
}
