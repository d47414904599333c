/**
 * The pages for when joining fails: what happened, and what to do about it.
 *
 * @module
 */

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Button, Field, Form, Heading } from "../shared/ui/page.tsx";
import type { Trouble, TroubleKind } from "./claim.ts";
import { tokenIn } from "./token.ts";

interface Page {
  title: string;
  text: ComponentChildren;
  /** What the person may do here. */
  offer?: "paste" | "retry";
}

const ASK = "Ask the person who invited you for a new link.";
const KEPT = "Your keys are stored in this browser, and the key file you saved stays valid.";

/** What the keys outlive. */
const KEEPING: ReadonlySet<TroubleKind> = new Set(["expired", "unreachable"]);

const PAGES: Readonly<Record<Exclude<TroubleKind, "already">, Page>> = {
  no_link: {
    title: "Open your invite link",
    text: (
      <p>
        To join, you need a link from an admin. It ends with <code>#</code>{" "}
        and a long code, which this address does not have. Open the link again, or paste it here.
      </p>
    ),
    offer: "paste",
  },
  mistyped: {
    title: "This invite link is damaged",
    text: (
      <p>
        The code at its end must have 64 characters: digits, and letters from a to f. A part may
        have been lost or changed when the link was copied. Open the original link again, or paste
        all of it here.
      </p>
    ),
    offer: "paste",
  },
  unknown: {
    title: "This server does not know the invite",
    text: (
      <p>
        The link may be old, be for another server, or contain a typing error. Compare it with the
        one you were sent, or paste it again.
      </p>
    ),
    offer: "paste",
  },
  used: {
    title: "This invite has been used",
    text: (
      <>
        <p>
          Each invite works once, for one person. If you used it on another device or in another
          browser, continue there, or use the key file you saved.
        </p>
        <p>If it was not you, tell the admin that someone else has used your link. {ASK}</p>
      </>
    ),
  },
  expired: {
    title: "This invite has expired",
    text: <p>An invite is valid for a limited time. {ASK}</p>,
  },
  canceled: {
    title: "This invite was canceled",
    text: <p>An admin canceled it. If you think that is a mistake, ask them for a new link.</p>,
  },
  revoked: {
    title: "These keys no longer have access",
    text: (
      <p>
        They were registered here before, and an admin has revoked their access. An admin can
        restore it, or invite you again with new keys.
      </p>
    ),
  },
  unreachable: {
    title: "The server does not respond",
    text: (
      <p>
        Your connection or the server may be down. Nothing is lost: it is safe to try again, even if
        the first attempt got through.
      </p>
    ),
    offer: "retry",
  },
  unavailable: {
    title: "The server is not available",
    text: (
      <p>
        It is starting, stopping, or waiting for other servers. It is safe to try again in a moment.
      </p>
    ),
    offer: "retry",
  },
  foreign: {
    title: "Unexpected response",
    text: (
      <p>
        The response did not come from the server, but from something in between, such as a Wi-Fi
        login page or a proxy. Resolve that in another tab, then try again.
      </p>
    ),
    offer: "retry",
  },
  clock: {
    title: "Your clock is wrong",
    text: (
      <p>
        The time on this device is too far off, and requests are signed with the time. Set the clock
        to automatic in the device's settings, then try again.
      </p>
    ),
    offer: "retry",
  },
  busy: {
    title: "Too many requests",
    text: <p>There were too many requests from your network. Wait a moment, then try again.</p>,
    offer: "retry",
  },
  address: {
    title: "Unknown server address",
    text: (
      <p>
        The server does not accept requests for{" "}
        <code>{location.host}</code>. Its operator can add that name with{" "}
        <code class="whole">--authority</code>; your invite is still valid.
      </p>
    ),
    offer: "retry",
  },
  insecure: {
    title: "This connection is not secure",
    text: (
      <p>
        Keys can be created only on a page loaded over HTTPS, and this one was not. Open the link
        with <code>https://</code>{" "}
        at the beginning. If that does not work, tell the person who sent it that the server needs
        TLS.
      </p>
    ),
  },
  old: {
    title: "This browser is too old",
    text: (
      <p>
        It cannot create the required keys (Ed25519 and X25519). Current versions of Firefox,
        Safari, Chrome and Edge can. Update it, or open the link in another browser; the invite has
        not been used.
      </p>
    ),
  },
  refused: {
    title: "The request failed",
    text: (
      <p>
        The server refused the request for an unknown reason. An admin can look it up in the log.
      </p>
    ),
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
    <Form
      onSubmit={() => {
        const found = tokenIn(text);
        if (found.is === "token") onToken(found.token);
        else setError("This is not a whole invite link: it must end with # and 64 characters");
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
    </Form>
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
