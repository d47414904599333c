/**
 * One line of a room.
 *
 * @module
 */

import type { JSX } from "preact";
import { useId, useState } from "preact/hooks";
import { counted, number, visible } from "../../../shared/format.ts";
import { Button } from "../../../shared/ui/page.tsx";
import type { Body, Line, Note, Progress, Said } from "../../model/lines.ts";
import type { Talk } from "../../model/talk.ts";
import { useDesk } from "../parts/context.ts";
import { Person, Time } from "../parts/ui.tsx";

/** Messages of one sender within this time stand under one name, milliseconds. */
const TOGETHER_MS = 5 * 60_000;
/** A longer text is shown in part. */
const LONG = 4_000;

/** A line, after the one before. */
export function LineView(
  { line, before, talk }: { line: Line; before: Line | null; talk: Talk },
): JSX.Element {
  if (line.is === "note") return <NoteView note={line} />;
  return <SaidView said={line} isFirst={!isTogether(before, line)} talk={talk} />;
}

function isTogether(before: Line | null, { from, at }: Said): boolean {
  return before?.is === "said" && before.from === from && at - before.at < TOGETHER_MS;
}

function NoteView({ note }: { note: Note }): JSX.Element {
  const { about, text, tone = "", count = 1, kind } = note;
  return (
    <p class={`note-line small ${tone}`}>
      {about !== undefined && kind !== undefined && "A message that names "}
      {about !== undefined && <Person endpoint={about} />}{" "}
      {about !== undefined && kind !== undefined && "as its sender "}
      {text}
      {count > 1 && ` (${number(count)} times)`}
    </p>
  );
}

const PROGRESS: Readonly<Record<Progress, string>> = {
  sending: "Sending …",
  sent: "Sent",
  unsure: "Not confirmed: it may have arrived.",
  failed: "Not sent.",
};

function SaidView(
  { said, isFirst, talk }: { said: Said; isFirst: boolean; talk: Talk },
): JSX.Element {
  const { me } = useDesk();
  const id = useId();
  const { from, at, body, progress, why, late } = said;
  const isLost = progress === "unsure" || progress === "failed";
  return (
    <div class={`line ${from === me.signPub ? "own" : ""} ${isFirst ? "first" : ""}`}>
      {isFirst
        ? (
          <p class="line-head">
            <b>
              <Person endpoint={from} />
            </b>{" "}
            <span class="muted small">
              <Time at={at} />
            </span>
          </p>
        )
        : (
          <span class="unseen">
            <Person endpoint={from} />:
          </span>
        )}
      <BodyView body={body} id={id} />
      {late && <p class="muted small">Arrived late, after one that was sent later.</p>}
      {progress !== undefined && (
        <p class={isLost ? "line-state small bad" : "line-state small muted"}>
          {PROGRESS[progress]} {progress === "failed" && why}
          {isLost && "text" in body && (
            <>
              {" "}
              <button
                type="button"
                class="link"
                aria-describedby={id}
                onClick={() => talk.send(body.text)}
              >
                Send it again
              </button>
            </>
          )}
        </p>
      )}
    </div>
  );
}

function BodyView({ body, id }: { body: Body; id: string }): JSX.Element {
  const [isWhole, show] = useState(false);
  if ("bytes" in body) {
    return <p class="muted">A message that is not text ({counted(body.bytes, "byte")})</p>;
  }
  const { text } = body;
  const isLong = text.length > LONG && !isWhole;
  return (
    <>
      <p class="text" id={id} dir="auto">{shown(isLong ? text.slice(0, LONG) : text)}</p>
      {isLong && (
        <Button look="quiet" onClick={() => show(true)}>
          Show all {number(text.length)} characters
        </Button>
      )}
    </>
  );
}

/** The text with its lines; what would turn or hide a part of it is made visible. */
function shown(text: string): string {
  return text.replaceAll("\t", "    ").split(/\r?\n/).map(visible).join("\n");
}
