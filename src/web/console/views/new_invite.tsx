/**
 * Making an invite. Its token lives in this dialog only: when the dialog goes, it is gone.
 *
 * @module
 */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { CreatedInvite, UserRole } from "../../../core/model.ts";
import { siteUrl } from "../../shared/api.ts";
import { CopyButton } from "../../shared/ui/copy.tsx";
import { Button, Field, Form, useFocus } from "../../shared/ui/page.tsx";
import { lasts, moment } from "../../shared/format.ts";
import { useLive, useLoad, useTask } from "../hooks.ts";
import { useSession } from "../data/session.ts";
import { Dialog } from "../../shared/ui/dialog.tsx";
import { Badge, Choice, Who } from "../ui/pieces.tsx";
import { Trouble } from "../ui/trouble.tsx";
import { QrCode } from "../../shared/ui/qr.tsx";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const LIVES = [HOUR, DAY, 7 * DAY, 30 * DAY, 365 * DAY];

/** The dialog: first the form, then the link. */
export function NewInvite({ onClose }: { onClose: () => void }): JSX.Element {
  const [made, make] = useState<CreatedInvite | null>(null);
  return made === null
    ? <Ask onClose={onClose} onMade={make} />
    : <Made made={made} onClose={onClose} />;
}

function Ask(
  { onClose, onMade }: { onClose: () => void; onMade: (it: CreatedInvite) => void },
): JSX.Element {
  const { api, live } = useSession();
  const { busy, failure, run } = useTask();
  const [note, setNote] = useState("");
  const [role, setRole] = useState<UserRole>("user");
  const [life, setLife] = useState(String(7 * DAY));
  const [room, setRoom] = useState("");
  const isMissing = failure?.particulars.code === "not_found";
  return (
    <Dialog title="New invite" onClose={onClose} busy={busy}>
      <Form
        onSubmit={() =>
          run(async () => {
            const made = await api.createInvite({
              role,
              note: note.trim(),
              expiresIn: Number(life),
              ...room.trim() !== "" && { room: room.trim() },
            });
            live.touch("invites");
            onMade(made);
          })}
      >
        <Field
          label="Who is it for?"
          hint="A note for admins, such as a name. The invited person does not see it."
          value={note}
          onInput={setNote}
          maxLength={500}
          autoComplete="off"
        />
        <Choice
          label="Valid for"
          value={life}
          options={LIVES.map((
            it,
          ) => [String(it), it === DAY ? "1 day" : it === HOUR ? "1 hour" : lasts(it)])}
          onChange={setLife}
        />
        <Choice
          label="Role"
          value={role}
          options={[["user", "User"], ["admin", "Admin"]]}
          onChange={setRole}
        />
        <Field
          label="Room (optional)"
          hint="Its owner sees the new user and adds it to the room."
          value={room}
          error={isMissing ? "There is no room with this name" : null}
          onInput={setRoom}
          maxLength={256}
          autoComplete="off"
        />
        {role === "admin" && (
          <p class="notice warn">
            The first person to use the link becomes an admin, who can do everything in this
            console.
          </p>
        )}
        {failure && !isMissing && <Trouble failure={failure} isChange />}
        <div class="actions dialog-actions">
          <Button onClick={onClose} disabled={busy}>Cancel</Button>
          <Button look="primary" busy={busy}>Create invite</Button>
        </div>
      </Form>
    </Dialog>
  );
}

function Made({ made, onClose }: { made: CreatedInvite; onClose: () => void }): JSX.Element {
  const { api, live } = useSession();
  const { invites: revision } = useLive(live);
  const { invite, token } = made;
  const link = `${siteUrl()}join#${token}`;
  const field = useFocus<HTMLInputElement>();
  const { data } = useLoad((signal) => api.with(signal).getInvite(invite.id), invite.id, revision);
  const usedBy = data?.usedBy ?? null;
  return (
    <Dialog title="The invite is ready" onClose={onClose}>
      <div class="stack">
        <p role="status">
          {usedBy !== null
            ? (
              <span class="notice good used-now">
                Used just now by <Who signPub={usedBy} link={false} />
              </span>
            )
            : (
              <>
                Send this link to one person over a private channel. It works once, until{" "}
                {moment(invite.expiresAt)}. <strong>Copy it now</strong>; it can't be shown again.
              </>
            )}
        </p>
        <label class="choice">
          <span>
            Link {invite.role === "admin" && <Badge look="accent">makes an admin</Badge>}
          </span>
          <input
            ref={field}
            class="input mono"
            readOnly
            value={link}
            onFocus={(event) => event.currentTarget.select()}
          />
        </label>
        <div class="actions">
          <CopyButton text={link} label="Copy the link" look="button primary" />
        </div>
        <details>
          <summary>As a QR code, for a phone</summary>
          <QrCode text={link} label="QR code of the link" />
        </details>
        <div class="actions dialog-actions">
          <Button onClick={onClose}>Done</Button>
        </div>
      </div>
    </Dialog>
  );
}
