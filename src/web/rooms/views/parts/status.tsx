/**
 * How the connection is, in the bar; what it means for messages, above a room.
 *
 * @module
 */

import type { JSX } from "preact";
import { clockWords } from "../../../shared/format.ts";
import type { Link } from "../../model/desk.ts";
import { useModel } from "../../model/model.ts";
import { useDesk } from "./context.ts";

const SHOWN: Readonly<Record<Link["is"], readonly [tone: string, text: string]>> = {
  connecting: ["", "Connecting"],
  up: ["good", "Connected"],
  lost: ["warn", "No connection"],
};

/** How far the clock may be off before it is said, milliseconds. */
const SKEW_MS = 60_000;

/** A dot and a word. */
export function Status(): JSX.Element {
  const { link } = useModel(useDesk());
  const [tone, text] = SHOWN[link.is];
  return (
    <span class={`pulse ${tone}`} role="status">
      <span class="dot" aria-hidden="true" />
      <span class="pulse-text">{text}</span>
    </span>
  );
}

/** What it means, where it means something. */
export function LinkNotice(): JSX.Element | null {
  const { link, remembers, api: { clockOffset } } = useModel(useDesk());
  return (
    <>
      {link.is === "lost" && link.why === null && (
        <p class="notice warn">
          The connection is lost. This page connects again by itself. A message that you send now
          goes out if that happens within a minute; messages that others send meanwhile do not
          arrive here.
        </p>
      )}
      {link.is !== "up" && link.why !== null && (
        <p class="notice warn">{link.why} This page tries again by itself.</p>
      )}
      {Math.abs(clockOffset) > SKEW_MS && (
        <p class="notice warn">
          {clockWords(-clockOffset)}{" "}
          Correct it: if it is wrong by more than 5 minutes, other members' pages reject your
          messages, and this page rejects theirs.
        </p>
      )}
      {!remembers && (
        <p class="notice warn">
          This browser does not store anything for this page, as in a private window: after a reload
          the page cannot tell whether an owner or a key has changed.
        </p>
      )}
    </>
  );
}
