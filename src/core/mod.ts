/**
 * For writing a backend: the interface it implements ({@link Backend}), the function that turns it into
 * a store ({@link createStore}), and the rules and the order that all backends share. Test yours with the
 * suite of `@unibus/membership/testing`. `examples/custom_backend.ts` is a complete example.
 *
 * It needs no permission in Deno.
 *
 * @module
 */

export { StoreError, type StoreErrorCode } from "./errors.ts";
export * from "./model.ts";
export { createStore, type RecordMethods, type Store, type StoreOptions } from "./store.ts";
export type { Backend, Range, RestoreOptions, SealedKeyCursor } from "./backend.ts";
export {
  cancelProblem,
  inviteEnd,
  inviteExists,
  inviteProblem,
  isActiveAdmin,
  lastAdmin,
  memberExists,
  newMemberKeyProblem,
  noMember,
  notEmpty,
  notFound,
  ownerChangeProblem,
  rekeyProblem,
  removalProblem,
  roomExists,
  sealedKeyProblem,
  userExists,
} from "./rules.ts";
export { compareRecords } from "./order.ts";
