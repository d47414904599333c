/**
 * One's own card: as text, as a link, and as a QR code of it.
 *
 * @module
 */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { QrCode } from "../../../shared/ui/qr.tsx";
import { formatCard } from "../../../../keys/identity_format.ts";
import { siteUrl } from "../../../shared/api.ts";
import { CopyButton } from "../../../shared/ui/copy.tsx";
import { useDesk } from "../parts/context.ts";

/** The card. */
export function Card(): JSX.Element {
  const { keys } = useDesk();
  const [card, setCard] = useState<string | null>(null);
  useEffect(() => {
    void Promise.resolve(keys.signEndpoint()).then((it) => setCard(formatCard(keys, it)));
  }, [keys]);
  if (card === null) return <p class="muted">Signing your card …</p>;
  const link = `${siteUrl()}rooms#card=${card}`;
  const refused = "Select the text and copy it";
  return (
    <div class="stack">
      <pre class="card-text small" tabIndex={0} aria-label="Your card"><code>{card}</code></pre>
      <div class="actions">
        <CopyButton text={card} label="Copy your card" look="button" refused={refused} />
        <CopyButton text={link} label="Copy it as a link" look="button" refused={refused} />
      </div>
      <details>
        <summary>Show it as a QR code</summary>
        <p class="small muted">
          A room's owner who scans it opens this page and can add you to a room.
        </p>
        <QrCode text={link} label="QR code of a link with your card" />
      </details>
    </div>
  );
}
