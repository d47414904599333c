/**
 * Who one is here: name, key, card; and signing out.
 *
 * @module
 */

import type { JSX } from "preact";
import { Dialog } from "../../../shared/ui/dialog.tsx";
import { fingerprint } from "../../../shared/keys.ts";
import { Name } from "../../../shared/ui/key.tsx";
import { Button } from "../../../shared/ui/page.tsx";
import { useDesk } from "../parts/context.ts";
import { Card } from "./card.tsx";

/** The dialog. */
export function You(
  { onClose, onSignOut }: { onClose: () => void; onSignOut: () => void },
): JSX.Element {
  const { me, keys } = useDesk();
  return (
    <Dialog title={<Name>{me.handle}</Name>} onClose={onClose}>
      <dl class="facts">
        <dt>Fingerprint</dt>
        <dd class="mono">{fingerprint(keys)}</dd>
        <dt>Server</dt>
        <dd>{location.host}</dd>
      </dl>
      <h3>Your card</h3>
      <p class="small">
        Send it to the owner of a room, who can then add you. It is public, and signed by you.
      </p>
      <Card />
      <div class="actions dialog-actions">
        <Button onClick={onSignOut}>Sign out</Button>
      </div>
    </Dialog>
  );
}
