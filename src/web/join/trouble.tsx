/// <reference lib="dom" />
/**
 * The pages for when it does not go on: what happened, and what to do about it.
 *
 * @module
 */

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Button, Field, Heading } from "../shared/page.tsx";
import type { Trouble, TroubleKind } from "./claim.ts";
import { tokenIn } from "./token.ts";

interface Page {
  title: string;
  text: ComponentChildren;
  /** What the person may do here. */
  offer?: "paste" | "retry";
}

const ASK = "Ask whoever invited you for a new link.";
const KEPT = "Your keys are kept in this browser, and the file you saved stays good.";

/** What the keys outlive. */
const KEEPING: ReadonlySet<TroubleKind> = new Set(["expired", "unreachable"]);

const PAGES: Readonly<Record<Exclude<TroubleKind, "already">, Page>> = {
  no_link: {
    title: "Open your invite link",
    text: (
      <p>
        To join you need a link from an admin. It ends with <code>#</code>{" "}
        and a long code, which this address does not have. Open the link again, or paste it here.
      </p>
    ),
    offer: "paste",
  },
  mistyped: {
    title: "This link is not complete",
    text: (
      <p>
        The code at its end should have 64 letters and digits. A part may have been lost when the
        link was copied. Open it again from where you got it, or paste all of it here.
      </p>
    ),
    offer: "paste",
  },
  unknown: {
    title: "This server does not know the invite",
    text: (
      <p>
        The link may be for another server, or a letter of it is wrong. Compare it with the one you
        were sent, or paste it again.
      </p>
    ),
    offer: "paste",
  },
  used: {
    title: "This invite has been used",
    text: (
      <>
        <p>
          Each invite is good for one person, once. If it was you, on another device or in another
          browser, go on there, or with the file you saved.
        </p>
        <p>If it was not you, tell the admin: somebody else has used your link. {ASK}</p>
      </>
    ),
  },
  expired: {
    title: "This invite has expired",
    text: <p>Invites are good for some days only. {ASK}</p>,
  },
  canceled: {
    title: "This invite was canceled",
    text: (
      <p>An admin has taken it back. If you think that is a mistake, ask them for a new link.</p>
    ),
  },
  revoked: {
    title: "These keys have no access any more",
    text: (
      <p>
        They were registered here before, and an admin has taken their access. An admin can give it
        back, or invite you anew, with new keys.
      </p>
    ),
  },
  unreachable: {
    title: "The server does not answer",
    text: (
      <p>
        Your connection may be down, or the server. Nothing is lost: it is safe to try again, also
        when the first try got through.
      </p>
    ),
    offer: "retry",
  },
  unavailable: {
    title: "The server cannot do it now",
    text: (
      <p>It is starting, stopping, or waiting for others. It is safe to try again in a moment.</p>
    ),
    offer: "retry",
  },
  foreign: {
    title: "Something else answered",
    text: (
      <p>
        The answer did not come from the server, but from something in between, such as the login
        page of a Wi-Fi or a proxy. See to that in another tab, then try again.
      </p>
    ),
    offer: "retry",
  },
  clock: {
    title: "Your clock is wrong",
    text: (
      <p>
        The time of this device is too far off, and requests are signed with their time. Set the
        clock to automatic in the device's settings, then try again.
      </p>
    ),
    offer: "retry",
  },
  busy: {
    title: "Too many tries",
    text: <p>There were many requests from your network. Wait a little, then try again.</p>,
    offer: "retry",
  },
  address: {
    title: "The server does not know its own address",
    text: (
      <p>
        It does not go by the name{" "}
        <code>{location.host}</code>. Whoever runs it can add that name with{" "}
        <code class="whole">--authority</code>; your invite is still good then.
      </p>
    ),
    offer: "retry",
  },
  insecure: {
    title: "This connection is not secure",
    text: (
      <p>
        Keys can be made only on a page that came over HTTPS, and this one did not. Open the link
        with <code>https://</code>{" "}
        at its beginning. If that does not work, tell whoever sent it that the server needs TLS.
      </p>
    ),
  },
  old: {
    title: "This browser is too old",
    text: (
      <p>
        It cannot make the keys that are needed (Ed25519 and X25519). Current versions of Firefox,
        Safari, Chrome and Edge can. Update it, or open the link in another one; the invite has not
        been used.
      </p>
    ),
  },
  refused: {
    title: "That did not work",
    text: <p>The server refused, for a reason this page does not know. An admin can look it up.</p>,
    offer: "retry",
  },
};

/** What {@link TroublePage} can do. */
export interface TroublePageProps {
  trouble: Trouble;
  onToken: (token: string) => void;
  onRetry: () => void;
  /** Keys were made and saved before it went wrong. */
  hasFile: boolean;
}

/** A page for trouble; `already` has one of its own. */
export function TroublePage(
  { trouble, hasFile, onToken, onRetry }: TroublePageProps,
): JSX.Element {
  const page = PAGES[trouble.kind as keyof typeof PAGES];
  return (
    <>
      <Heading title={page.title} site="unibus">{page.title}</Heading>
      {page.text}
      {hasFile && KEEPING.has(trouble.kind) && <p>{KEPT}</p>}
      {page.offer === "paste" && <Paste onToken={onToken} />}
      {page.offer === "retry" && <Retry after={trouble.retryAfter ?? 0} onRetry={onRetry} />}
      {trouble.requestId && (
        <details class="small muted">
          <summary>For the admin</summary>
          <p>{trouble.detail}</p>
          <p>Request {trouble.requestId}</p>
        </details>
      )}
    </>
  );
}

function Paste({ onToken }: { onToken: (token: string) => void }): JSX.Element {
  const [text, setText] = useState("");
  const [error, setError] = useState<string | null>(null);
  return (
    <form
      class="stack"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        const found = tokenIn(text);
        if (found.is === "token") onToken(found.token);
        else setError("That is not a whole invite link: it ends with 64 letters and digits");
      }}
    >
      <Field
        label="Invite link"
        value={text}
        error={error}
        autoComplete="off"
        onInput={(value) => {
          setText(value);
          setError(null);
        }}
      />
      <div class="actions">
        <Button look="primary">Continue</Button>
      </div>
    </form>
  );
}

function Retry({ after, onRetry }: { after: number; onRetry: () => void }): JSX.Element {
  const [left, setLeft] = useState(after);
  useEffect(() => {
    if (left <= 0) return;
    const timer = setTimeout(() => setLeft(left - 1), 1000);
    return () => clearTimeout(timer);
  }, [left]);
  return (
    <div class="actions">
      <Button look="primary" disabled={left > 0} onClick={onRetry}>
        {left > 0 ? `Try again in ${left} s` : "Try again"}
      </Button>
    </div>
  );
}
