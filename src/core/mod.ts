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
export {
  type ActingStore,
  createStore,
  type HistoryMethods,
  type HistoryPruning,
  type HistoryQuery,
  type RecordMethods,
  type Store,
  type StoreOptions,
} from "./store.ts";
export {
  ACTIONS,
  type Author,
  did,
  type Draft,
  type HistoryAction,
  type HistoryEntry,
  type SmallValues,
} from "./history/entry.ts";
export type {
  ChainEnd,
  HistoryRange,
  HistorySource,
  PruneRange,
  SignedHead,
  StoredEntry,
} from "./history/source.ts";
export {
  compareRevisions,
  formatRevision,
  parseRevision,
  type Revision,
} from "./history/revision.ts";
export { FIRST_HEAD, headAfter } from "./history/chain.ts";
export { requireKept } from "./history/source.ts";
export type {
  Backend,
  Range,
  RestoredHistory,
  RestoreOptions,
  SealedKeyCursor,
} from "./backend.ts";
export {
  afterHandover,
  afterWaiting,
  cancelProblem,
  handoverProblem,
  invitedSince,
  inviteEnd,
  inviteExists,
  inviteProblem,
  isActiveAdmin,
  isHandedOver,
  isInviteTo,
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
  waitAfterClaim,
  waitsFor,
} from "./rules.ts";
export { compareRecords } from "./order.ts";
