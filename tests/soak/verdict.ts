/**
 * Whether a row of figures is flat.
 *
 * @module
 */

/** What is looked at, and how much more of it is no growth: a share, or so much where that is more. */
export interface Measure {
  readonly what: string;
  readonly share: number;
  readonly least: number;
}

/** What was found of one. */
export interface Finding {
  readonly what: string;
  /** The middle of the second quarter. */
  readonly early: number;
  /** The middle of the last quarter. */
  readonly late: number;
  /** By how much it grew from the end of the first quarter on, on the line through all of it. */
  readonly rise: number;
  /** How much would have been none. */
  readonly allowed: number;
  readonly isFlat: boolean;
}

/** Judges figures that were taken at even intervals. The first quarter is for warming up. */
export function judge({ what, share, least }: Measure, figures: readonly number[]): Finding {
  const quarter = Math.floor(figures.length / 4);
  const early = median(figures.slice(quarter, 2 * quarter));
  const late = median(figures.slice(figures.length - quarter));
  const rest = figures.slice(quarter);
  const rise = slope(rest) * rest.length;
  const allowed = Math.max(least, share * early);
  return { what, early, late, rise, allowed, isFlat: late - early <= allowed && rise <= allowed };
}

/** The middle one. */
export function median(figures: readonly number[]): number {
  const sorted = [...figures].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}

/** The line through figures, a step: the middle of the slopes between each two (Theil and Sen). */
function slope(figures: readonly number[]): number {
  const slopes: number[] = [];
  for (let i = 0; i < figures.length; i++) {
    for (let j = i + 1; j < figures.length; j++) {
      slopes.push((figures[j]! - figures[i]!) / (j - i));
    }
  }
  return median(slopes);
}
