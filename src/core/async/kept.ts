/**
 * Answers that are kept for a while.
 *
 * @module
 */

/** Calls `work` once for all who ask at once; they and those of the next `ms` milliseconds share it. */
export function kept<T>(ms: number, work: () => Promise<T>): () => Promise<T> {
  let last: { answer: Promise<T>; endedAt: number } | null = null;
  return () => {
    if (last === null || performance.now() - last.endedAt > ms) {
      const call = last = { answer: work(), endedAt: Infinity };
      const end = () => void (call.endedAt = performance.now());
      call.answer.then(end, end);
    }
    return last.answer;
  };
}
