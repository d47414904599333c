/**
 * One's own card: as text, as a link, and as a QR code of it.
 *
 * @module
 */

import type { JSX } from "preact";
import { siteUrl } from "../../../shared/api.ts";
import { CardText, useCard } from "../../../shared/ui/card.tsx";
import { CopyButton } from "../../../shared/ui/copy.tsx";
import { QrCode } from "../../../shared/ui/qr.tsx";
import { useDesk } from "../parts/context.ts";

/** The card. */
export function Card(): JSX.Element {
  const card = useCard(useDesk().keys);
  if (card === null) return <p class="muted">Signing your card …</p>;
  const link = `${siteUrl()}rooms#card=${card}`;
  return (
    <div class="stack">
      <CardText card={card}>
        <CopyButton
          text={link}
          label="Copy it as a link"
          look="button"
          refused="Copy the text instead"
        />
      </CardText>
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
