/**
 * One's own card, to be sent to others.
 *
 * @module
 */

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { formatCard } from "../../../keys/identity_format.ts";
import type { Keys } from "../keys.ts";
import { CopyButton } from "./copy.tsx";

/** Returns the card of keys; null until it is signed. */
export function useCard(keys: Keys): string | null {
  const [card, setCard] = useState<string | null>(null);
  useEffect(() => {
    void keys.signEndpoint().then((it) => setCard(formatCard(keys, it)));
  }, [keys]);
  return card;
}

/** A card as text, with a button that copies it; `children` are others beside that. */
export function CardText(
  { card, children }: { card: string; children?: ComponentChildren },
): JSX.Element {
  return (
    <>
      <pre class="card-text small" tabIndex={0} aria-label="Your card"><code>{card}</code></pre>
      <div class="actions">
        <CopyButton
          text={card}
          label="Copy your card"
          look="button"
          refused="Select the text and copy it"
        />
        {children}
      </div>
    </>
  );
}
