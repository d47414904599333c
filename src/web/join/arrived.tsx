/**
 * The pages for a person who has joined: who they are here, and what to do next.
 *
 * @module
 */

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { User } from "../../core/model.ts";
import { siteUrl } from "../shared/api.ts";
import { fingerprint, type Keys } from "../shared/keys.ts";
import { CardText, useCard } from "../shared/ui/card.tsx";
import { Button, Heading, Notice } from "../shared/ui/page.tsx";
import { fileName } from "./forms.tsx";

const SITE = "unibus";

/** Says that one is in. */
export function DonePage(props: {
  user: User;
  keys: Keys;
  /** The name of the file with the keys; null where it is not known. */
  file: string | null;
  /** Whether this browser keeps the keys; false where it would not. */
  isKept: boolean;
}): JSX.Element {
  const { user, keys, isKept } = props;
  const file = props.file ?? fileName(user.handle);
  const card = useCard(keys);
  return (
    <>
      <Heading title={`Welcome, ${user.handle}`} site={SITE}>Welcome, {user.handle}</Heading>
      <Notice tone="good">
        You are registered as {user.role === "admin" ? "an admin" : "a user"} of{" "}
        <strong>{location.host}</strong>.
      </Notice>
      {!isKept && (
        <Notice tone="warn">
          This browser does not store keys, as in a private window: your key file is the only copy.
        </Notice>
      )}
      <dl class="facts">
        <dt>Fingerprint</dt>
        <dd class="mono">{fingerprint(keys)}</dd>
        <dt>Public key</dt>
        <dd class="mono small">{user.signPub}</dd>
      </dl>
      <h2>Next steps</h2>
      <ol class="next">
        <PageItem path="rooms" link="Open your rooms" look="primary">
          <Waiting room={user.invitedTo} />
        </PageItem>
        <li>
          <p>
            <strong>Join a room.</strong>{"  "}
            Send your card to the room's owner. It is public, and signed by you.
          </p>
          {card !== null && (
            <div class="stack">
              <CardText card={card} />
            </div>
          )}
        </li>
        {user.role === "admin" && (
          <PageItem path="console" link="Open the console">
            <p>
              <strong>Manage the server.</strong>{" "}
              As an admin you can invite others and see the server's status.
            </p>
          </PageItem>
        )}
        <li>
          <p>
            <strong>Use unibus in a program.</strong> Make your key file readable only by you:
          </p>
          <pre tabIndex={0} aria-label="Command"><code>chmod 600 {file}</code></pre>
          <p>Then, in Deno or Node:</p>
          <pre class="program" tabIndex={0} aria-label="Program"><code>{program(file)}</code></pre>
          <p class="small muted">
            <code>openRooms</code> reads and writes the messages of your rooms. See the{" "}
            <a href="docs">API documentation of this server</a>.
          </p>
        </li>
      </ol>
    </>
  );
}

function program(file: string): string {
  return `import { createClient, readIdentity } from "@unibus/membership/client";

const identity = await readIdentity("${file}", {
  passphrase: () => prompt("Passphrase:") ?? "",
});
const client = createClient({ url: "${siteUrl().replace(/\/$/, "")}", identity });
console.log(await client.me());`;
}

/** A step on another page, shown where the server has that page. */
function PageItem(props: {
  path: string;
  link: string;
  look?: "primary";
  children: ComponentChildren;
}): JSX.Element | null {
  const { path, link, look = "", children } = props;
  const [isThere, setThere] = useState(false);
  useEffect(() => {
    const init = { method: "HEAD", credentials: "omit" } as const;
    fetch(path, init).then((it) => setThere(it.ok), () => setThere(false));
  }, []);
  if (!isThere) return null;
  return (
    <li>
      {children}
      <div class="actions">
        <a class={`button ${look}`} href={path}>{link}</a>
      </div>
    </li>
  );
}

/** Says what is to be found in the rooms. */
function Waiting({ room }: { room: string | undefined }): JSX.Element {
  if (room === undefined) {
    return (
      <p>
        <strong>Open your rooms.</strong> You read and write messages in this browser.
      </p>
    );
  }
  return (
    <p>
      <strong>Open your rooms.</strong> You are invited to the room{" "}
      <strong>{room}</strong>. Its owner can see that you are waiting, and lets you in.
    </p>
  );
}

/** Says that one has been in before, and that the invite is still good. */
export function AlreadyPage(props: {
  user: User;
  /** Whether the invite can still be used. */
  isOpen: boolean;
  /** Goes on with other keys; null where there is no link to do that with. */
  onAnew: (() => void) | null;
  onDone: () => void;
}): JSX.Element {
  return (
    <>
      <Heading title="You are already registered" site={SITE}>You are already registered</Heading>
      <p>
        You are <strong>{props.user.handle}</strong>{" "}
        on this server, and there is nothing left to do. {props.isOpen
          ? "The invite has not been used: someone else can use the link."
          : "The invite can no longer be used."}
      </p>
      <div class="actions">
        <Button look="primary" onClick={props.onDone}>Show next steps</Button>
        {props.onAnew !== null && (
          <Button look="quiet" onClick={props.onAnew}>Join as someone else</Button>
        )}
      </div>
    </>
  );
}

/** Goes on with keys that were made here before. */
export function ResumePage(props: {
  handle: string;
  keys: Keys;
  onResume: () => void;
  onAnew: () => void;
}): JSX.Element {
  return (
    <>
      <Heading title="Continue where you left off" site={SITE}>Continue where you left off</Heading>
      <p>
        You have created keys in this browser before, as <strong>{props.handle}</strong>{" "}
        (<span class="mono">{fingerprint(props.keys)}</span>), and saved them to a key file. They
        are not registered yet.
      </p>
      <div class="actions">
        <Button look="primary" onClick={props.onResume}>Join as {props.handle}</Button>
        <Button look="quiet" onClick={props.onAnew}>Create new keys</Button>
      </div>
    </>
  );
}
