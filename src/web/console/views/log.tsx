/**
 * The live log of changes.
 *
 * @module
 */

import type { JSX } from "preact";
import { useRef, useState } from "preact/hooks";
import { Button } from "../../shared/page.tsx";
import type { Change } from "../../../core/operations.ts";
import { counted } from "../format.ts";
import { useLive } from "../hooks.ts";
import { KEPT } from "../data/live.ts";
import { useKept, useServerNow, useSession } from "../data/session.ts";
import { Badge, Choice, Empty, ViewHead, Waiting } from "../ui/pieces.tsx";
import { ChangeList } from "./changes.tsx";

type Which = "" | Change["kind"] | "refused";

/** The view. */
export function Log(): JSX.Element {
  const { live } = useSession();
  const { changes, connection } = useLive(live);
  const now = useServerNow(5_000);
  const [which, choose] = useKept<Which>("log.which", "");
  const [paused, pause] = useState<readonly Change[] | null>(null);
  const first = useRef(now);
  const shown = (paused ?? changes).filter((it) =>
    which === "" || (which === "refused" ? it.outcome !== "done" : it.kind === which)
  );
  const top = paused?.[0];
  const waiting = paused === null
    ? 0
    : top === undefined
    ? changes.length
    : Math.max(0, changes.findIndex((it) => it.n === top.n && it.at === top.at));
  const fresh = changes.filter((it) => Date.parse(it.at) > first.current).length;
  return (
    <>
      <ViewHead
        title="Log"
        name={
          <>
            Log {connection === "live" && paused === null && <Badge look="good">live</Badge>}
            {paused !== null && <Badge look="warn">paused</Badge>}
          </>
        }
      >
        <Button onClick={() => pause(paused === null ? changes : null)}>
          {paused === null ? "Pause" : "Resume"}
        </Button>
      </ViewHead>
      <div class="filters">
        <Choice
          label="Show"
          value={which}
          options={[
            ["", "Everything"],
            ["users", "Users"],
            ["invites", "Invites"],
            ["rooms", "Rooms"],
            ["elsewhere", "Made elsewhere"],
            ["refused", "Refused only"],
          ]}
          onChange={choose}
        />
        {waiting > 0 && <p class="muted" role="status">{counted(waiting, "change")} since then</p>}
      </div>
      {connection === "first" ? <Waiting what="Reading the log" /> : shown.length === 0
        ? (
          <Empty>
            <p>
              {which === ""
                ? "Nothing has changed since this server started. Changes appear here as they happen."
                : "No matching changes since this server started."}
            </p>
          </Empty>
        )
        : (
          <div
            class="panel"
            role="log"
            aria-label="Changes"
            aria-live={fresh > 20 ? "off" : "polite"}
          >
            <ChangeList changes={shown} now={now} />
          </div>
        )}
      <p class="muted small">
        The latest {KEPT}{" "}
        changes since this server started. Changes made by other servers or the command line are
        shown as “elsewhere”. For a permanent record, keep the server's own log.
      </p>
    </>
  );
}
