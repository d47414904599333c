/**
 * Lists as CSV files.
 *
 * @module
 */

import type { JSX } from "preact";
import type { Page } from "../../../core/model.ts";
import { Button, download } from "../../shared/ui/page.tsx";
import { useSession } from "../data/session.ts";
import { number } from "../../shared/format.ts";
import { useTask } from "../hooks.ts";
import { Trouble } from "./trouble.tsx";

/** Most rows of a file. */
const MOST = 100_000;

/** What {@link DownloadCsv} takes. */
export interface DownloadCsvProps<T> {
  /** The file's name. */
  name: string;
  /** The columns, each the name of a field. */
  columns: readonly (keyof T & string)[];
  /** Reads a page of what is listed, with the filters of the list. */
  read: (after: string | null) => Promise<Page<T>>;
}

/** A button that reads the whole list and gives it as a file. */
export function DownloadCsv<T>({ name, columns, read }: DownloadCsvProps<T>): JSX.Element {
  const { say } = useSession();
  const task = useTask();
  const save = async (): Promise<void> => {
    const rows: T[] = [];
    let after: string | null = null;
    do {
      const page: Page<T> = await read(after);
      rows.push(...page.items);
      after = page.next;
    } while (after !== null && rows.length < MOST);
    download(name, csvOf(columns, rows));
    if (after !== null) say(`The file has the first ${number(rows.length)} rows`);
  };
  return (
    <>
      <Button busy={task.busy} onClick={() => task.run(save)}>Download CSV</Button>
      {task.failure && <Trouble failure={task.failure} />}
    </>
  );
}

/** The text of a CSV file. */
export function csvOf<T>(columns: readonly (keyof T & string)[], rows: readonly T[]): string {
  const lines = rows.map((row) => columns.map((it) => cell(row[it])).join());
  return [columns.join(), ...lines].join("\r\n");
}

/** A value of a CSV file. What a spreadsheet would take for a formula begins with an apostrophe. */
function cell(value: unknown): string {
  const text = typeof value === "string"
    ? value
    : value === null || value === undefined
    ? ""
    : JSON.stringify(value);
  return `"${text.replace(/^[=+\-@\t\r]/, "'$&").replaceAll('"', '""')}"`;
}
