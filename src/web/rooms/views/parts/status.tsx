/**
 * How the connection is, in the bar; what it means for messages, above a room.
 *
 * @module
 */

import type { JSX } from "preact";
import type { Link } from "../../model/desk.ts";
import { useModel } from "../../model/model.ts";
import { useDesk } from "./context.ts";

const SHOWN: Readonly<Record<Link["is"], readonly [tone: string, text: string]>> = {
  connecting: ["", "Connecting"],
  up: ["good", "Connected"],
  lost: ["warn", "No connection"],
};

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
  const { link, remembers } = useModel(useDesk());
  return (
    <>
      {link.is === "lost" && (
        <p class="notice warn">
          {link.why ?? "The connection to the bus is lost."}{" "}
          This page keeps trying. What you send now goes out when it is back; what others send
          meanwhile does not arrive here.
        </p>
      )}
      {link.is === "connecting" && link.why !== null && (
        <p class="notice warn">{link.why} This page keeps trying.</p>
      )}
      {!remembers && (
        <p class="notice warn">
          This browser keeps nothing, as in a private window: after a reload this page cannot tell
          whether an owner or a key has changed.
        </p>
      )}
    </>
  );
}
