/**
 * Sends one of the requests that change nothing, and shows its answer.
 *
 * @module
 */

import type { JSX } from "preact";
import { useEffect, useId, useState } from "preact/hooks";
import { isStoreError } from "../../core/errors.ts";
import { jsonOf } from "../../client/http/failure.ts";
import { callerOf } from "../shared/api.ts";
import { type Kept, kept } from "../shared/keep.ts";
import { fingerprint } from "../shared/keys.ts";
import { Button, Form } from "../shared/ui/page.tsx";

/** The form. */
export function Try({ paths }: { paths: readonly string[] }): JSX.Element {
  const id = useId();
  const [path, setPath] = useState(paths[0]!);
  const [reading] = useState(registered);
  /** Undefined: not read yet. */
  const [identity, setIdentity] = useState<Kept | null | undefined>(undefined);
  const [answer, setAnswer] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  useEffect(() => void reading.then(setIdentity), []);

  async function send(): Promise<void> {
    setBusy(true);
    setAnswer(null);
    setAnswer(await answerOf(path, await reading));
    setBusy(false);
  }

  return (
    <Form onSubmit={() => void send()}>
      <div class="field">
        <label for={id}>Request</label>
        <select
          id={id}
          class="select"
          value={path}
          onInput={(event) => setPath(event.currentTarget.value)}
        >
          {paths.map((it) => <option key={it} value={it}>GET {it}</option>)}
        </select>
      </div>
      <p class="muted small">
        {identity === undefined
          ? "Reading which keys this browser keeps …"
          : identity === null
          ? "This browser keeps no keys for this server, so the request is not signed. It keeps the " +
            "keys that you join with."
          : `Signed as ${identity.handle} (${fingerprint(identity.keys)}), with the keys that ` +
            "this browser keeps."}
      </p>
      <div class="actions">
        <Button look="primary" busy={busy}>Send</Button>
      </div>
      <div role="status">
        {answer !== null && (
          <pre class="answer" tabIndex={0} aria-label="Answer"><code>{answer}</code></pre>
        )}
      </div>
    </Form>
  );
}

/** Returns who this browser keeps keys of. */
async function registered(): Promise<Kept | null> {
  return (await kept()).find((it) => it.registered) ?? null;
}

/** Returns the answer as text; of a failure its code too. */
async function answerOf(path: string, identity: Kept | null): Promise<string> {
  const isSigned = identity !== null && path.startsWith("/v1/");
  try {
    const caller = callerOf(isSigned ? identity.keys : null);
    const how = isSigned ? {} : { signed: false as const };
    const answer = await caller.call({ method: "GET", path, read: jsonOf, ...how });
    return JSON.stringify(answer, null, 2);
  } catch (error) {
    return isStoreError(error) ? `${error.code}: ${error.message}` : String(error);
  }
}
