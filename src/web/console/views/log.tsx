/**
 * The log: who changed what.
 *
 * @module
 */

import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import type { HistoryEntry } from "../../../core/history/entry.ts";
import type { HistoryQuery } from "../../../core/history/methods.ts";
import { Button, download } from "../../shared/page.tsx";
import { useSession } from "../data/session.ts";
import { useSettled, useTask } from "../hooks.ts";
import { Choice, Search, Trouble, ViewHead } from "../ui/pieces.tsx";
import { Changes, SAID } from "./changes.tsx";

/** Most changes of a download. */
const MOST = 100_000;
/** What filters a change by a text. */
const FIELDS = [["user", "User"], ["room", "Room"], ["invite", "Invite"], [
  "by",
  "Made by",
]] as const;
const ACTIONS = Object.entries(SAID).map(([action, said]) =>
  [action, said.split("|")[0]!.replace(/[{}]/g, "")] as const
);

/** The view; `asked` is a filter such as `room=ops`. */
export function Log({ asked }: { asked: string | null }): JSX.Element {
  const { api, say } = useSession();
  const [, askedField = "user", askedText = ""] = /^(\w+)=(.*)$/s.exec(asked ?? "") ?? [];
  const [field, setField] = useState(askedField);
  const [text, setText] = useState(askedText);
  const [action, setAction] = useState("");
  const [days, setDays] = useState("");
  const [paused, pause] = useState(false);
  const task = useTask();
  const value = useSettled(text.trim(), 300);
  const query = useMemo(() => ({
    ...value !== "" && { [field]: value },
    ...action !== "" && { action },
    ...days !== "" && {
      since: new Date(Date.now() + api.clockOffset() - Number(days) * 86_400_000).toISOString(),
    },
  } as HistoryQuery), [field, value, action, days]);
  const save = async (): Promise<void> => {
    const rows = [COLUMNS.join()];
    let before: string | null = null;
    do {
      const page = await api.changes({ ...query, newest: true, limit: 1000, before });
      rows.push(...page.items.map((it) => COLUMNS.map((name) => cell(it[name])).join()));
      before = page.next;
    } while (before !== null && rows.length < MOST);
    download("changes.csv", rows.join("\r\n"));
    if (before !== null) say(`The file has the newest ${MOST} changes`);
  };
  return (
    <>
      <ViewHead title="Log">
        <Button onClick={() => pause(!paused)}>{paused ? "Resume" : "Pause"}</Button>
        <Button busy={task.busy} onClick={() => task.run(save)}>Download CSV</Button>
      </ViewHead>
      <div class="filters">
        <Choice label="Filter by" value={field} options={FIELDS} onChange={setField} />
        <Search value={text} maxLength={256} placeholder="Key or id" onInput={setText} />
        <Choice
          label="Action"
          value={action}
          options={[["", "All"], ...ACTIONS]}
          onChange={setAction}
        />
        <Choice
          label="Time"
          value={days}
          options={[["", "Any time"], ["1", "Last day"], ["7", "Last week"], [
            "30",
            "Last 30 days",
          ]]}
          onChange={setDays}
        />
      </div>
      {task.failure && <Trouble failure={task.failure} />}
      <Changes key={JSON.stringify(query)} query={query} size={50} paused={paused} />
    </>
  );
}

const COLUMNS = [
  "revision",
  "at",
  "by",
  "action",
  "user",
  "room",
  "invite",
  "before",
  "after",
] as const satisfies readonly (keyof HistoryEntry)[];

/** A value of a CSV file. What a spreadsheet would take for a formula begins with an apostrophe. */
function cell(value: unknown): string {
  const text = typeof value === "string" ? value : value ? JSON.stringify(value) : "";
  return `"${text.replace(/^[=+\-@\t\r]/, "'$&").replaceAll('"', '""')}"`;
}
