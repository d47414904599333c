/**
 * What a benchmark reports: a figure, the baseline of the same run, and their ratio against a goal.
 *
 * @module
 */

/** One line of the table. */
export interface Row {
  /** What was measured. */
  what: string;
  /** The figure, with its unit. */
  found: string;
  /** The baseline and its figure, from the same run. */
  baseline?: string;
  /** How the figure stands to the baseline, or the figure itself where the goal is absolute. */
  ratio?: number;
  /** What is wanted of the ratio. */
  goal?: Goal;
}

/** A bound of a ratio. */
export interface Goal {
  /** At least this. */
  least?: number;
  /** At most this. */
  most?: number;
  /** Unit of an absolute goal, such as ` MB`. */
  unit?: string;
}

/** Whether a row's goal is met; `null` for a row without one. */
export function isMet({ ratio, goal }: Row): boolean | null {
  if (goal === undefined || ratio === undefined) return null;
  return ratio >= (goal.least ?? -Infinity) && ratio <= (goal.most ?? Infinity);
}

function goalText({ least, most, unit = "x" }: Goal): string {
  const bounds = [
    ...(least === undefined ? [] : [`≥ ${whole(least)}${unit}`]),
    ...(most === undefined ? [] : [`≤ ${whole(most)}${unit}`]),
  ];
  return bounds.join(", ");
}

/** A number as people read it: thousands apart, three digits that count. */
export function whole(it: number): string {
  const digits = it >= 100 ? 0 : it >= 10 ? 1 : 2;
  return Number(it.toFixed(digits)).toLocaleString("en-US");
}

/** The rows as a table in Markdown. */
export function table(rows: Row[]): string {
  const cells = [["what", "found", "baseline of the same run", "ratio", "goal", "met"]];
  for (const row of rows) {
    const met = isMet(row);
    const unit = row.goal?.unit ?? "x";
    cells.push([
      row.what,
      row.found,
      row.baseline ?? "",
      row.ratio === undefined || unit !== "x" ? "" : `${whole(row.ratio)}x`,
      row.goal === undefined ? "" : goalText(row.goal),
      met === null ? "" : met ? "yes" : "NO",
    ]);
  }
  const widths = cells[0]!.map((_, i) => Math.max(...cells.map((row) => row[i]!.length)));
  const line = (row: string[]) => `| ${row.map((it, i) => it.padEnd(widths[i]!)).join(" | ")} |`;
  const rule = `| ${widths.map((it) => "-".repeat(it)).join(" | ")} |`;
  return [line(cells[0]!), rule, ...cells.slice(1).map(line)].join("\n");
}
