/**
 * The log: who changed what.
 *
 * @module
 */

import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import type { HistoryEntry } from "../../../core/history/entry.ts";
import type { HistoryQuery } from "../../../core/history/methods.ts";
import { hex64 } from "../../../core/validate.ts";
import { Button } from "../../shared/ui/page.tsx";
import { useSession } from "../data/session.ts";
import { useSettled } from "../hooks.ts";
import { DownloadCsv } from "../ui/csv.tsx";
import { Choice, Empty, Search, ViewHead } from "../ui/pieces.tsx";
import { Changes, SAID } from "./changes.tsx";

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
  const { api } = useSession();
  const [, askedField = "user", askedText = ""] = /^(\w+)=(.*)$/s.exec(asked ?? "") ?? [];
  const [field, setField] = useState(askedField);
  const [text, setText] = useState(askedText);
  const [action, setAction] = useState("");
  const [days, setDays] = useState("");
  const [paused, pause] = useState(false);
  const value = useSettled(text.trim(), 300);
  // Rooms have names, and so have programs that make changes.
  const isWhole = value === "" || !["user", "invite"].includes(field) || hex64(value) !== null;
  const query = useMemo(() => ({
    ...value !== "" && { [field]: value },
    ...action !== "" && { action },
    ...days !== "" && {
      since: new Date(Date.now() + api.clockOffset() - Number(days) * 86_400_000).toISOString(),
    },
  } as HistoryQuery), [field, value, action, days]);
  return (
    <>
      <ViewHead title="Log">
        <Button onClick={() => pause(!paused)}>{paused ? "Resume" : "Pause"}</Button>
        <DownloadCsv<HistoryEntry>
          name="changes.csv"
          columns={COLUMNS}
          read={(before) => api.changes({ ...query, newest: true, limit: 1000, before })}
        />
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
      {isWhole
        ? <Changes key={JSON.stringify(query)} query={query} size={50} paused={paused} />
        : (
          <Empty>
            <p role="status">Enter the whole key or id: 64 hex digits.</p>
            <p class="muted">
              To find a user by name, use Find (Ctrl K); the user's page shows its history.
            </p>
          </Empty>
        )}
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
