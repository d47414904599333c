/**
 * What went wrong, in words.
 *
 * @module
 */

import type { JSX } from "preact";
import { useContext } from "preact/hooks";
import { CopyButton } from "../../shared/ui/copy.tsx";
import { Button, Waiting } from "../../shared/ui/page.tsx";
import { changeWordsOf, type Failure, wordsOf } from "../data/failure.ts";
import { SessionContext } from "../data/session.ts";
import type { Loaded } from "../hooks.ts";

/** What went wrong, with what the log calls it. */
export function Trouble(
  { failure, retry, isChange = false }: {
    failure: Failure;
    retry?: () => void;
    /** A change failed, not a request for data. */
    isChange?: boolean;
  },
): JSX.Element | null {
  const session = useContext(SessionContext);
  // Why the connection is lost is told above all views, and they are read again when it is back.
  const told = session?.live.state.failure ?? null;
  if (retry && told !== null && wordsOf(told) === wordsOf(failure)) return null;
  return (
    <div class="notice bad trouble" role="alert">
      <p>{(isChange ? changeWordsOf : wordsOf)(failure)}</p>
      <LoggedAs failure={failure} />
      {retry && <Button onClick={retry}>Try again</Button>}
    </div>
  );
}

/** What the server's log calls a failure. */
export function LoggedAs(
  { failure: { particulars: { code, requestId } } }: { failure: Failure },
): JSX.Element | null {
  if (code === undefined || requestId === undefined) return null;
  return (
    <p class="small muted">
      <code>{code}</code>, request <code>{requestId}</code>{" "}
      <CopyButton text={requestId} label="Copy the request id" />
    </p>
  );
}

/** What is to be said of something that is read: why it could not be, or that it is on its way. */
export function Reading({ load, what }: { load: Loaded<unknown>; what: string }): JSX.Element {
  const { data, failure, loading, reload } = load;
  return (
    <>
      {failure && <Trouble failure={failure} retry={reload} />}
      {data === null && loading && <Waiting what={what} />}
    </>
  );
}
