/**
 * Counts in messages.
 *
 * @module
 */

/** Returns the word for a count: `wordFor(2, "user")` is `users`. */
export function wordFor(count: number, one: string, many = `${one}s`): string {
  return count === 1 ? one : many;
}

/** Formats a count with its noun: `1 user`, `2 users`. */
export function counted(count: number, noun: string, plural?: string): string {
  return `${count} ${wordFor(count, noun, plural)}`;
}
