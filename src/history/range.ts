/**
 * Pages of the history.
 *
 * @module
 */

/** Every entry, the oldest first. */
export const ANY = {
  after: null,
  before: null,
  newest: false,
  user: null,
  room: null,
  invite: null,
  by: null,
  action: null,
  since: null,
} as const;
