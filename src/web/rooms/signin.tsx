/**
 * Signing in: with the key that this browser keeps, or with a key file.
 *
 * @module
 */

import type { JSX } from "preact";
import { keep } from "../shared/keep.ts";
import { Notice } from "../shared/ui/page.tsx";
import { activeUser, SignInPage } from "../shared/ui/signin.tsx";
import { apiOf } from "./api.ts";
import type { SignedIn } from "./model/desk.ts";
import { useTask } from "./views/parts/task.ts";

/** Set in this tab after signing out: a reload then does not sign in by itself. */
const OUT = "unibus-signed-out";

/** Notes that the person has signed out in this tab, or in again. */
export function markOut(isOut: boolean): void {
  try {
    if (isOut) sessionStorage.setItem(OUT, "1");
    else sessionStorage.removeItem(OUT);
  } catch {
    // A browser that keeps nothing has no key to sign in with either.
  }
}

function isOut(): boolean {
  try {
    return sessionStorage.getItem(OUT) !== null;
  } catch {
    return true;
  }
}

/** The view. */
export function SignIn(
  { ended, onSignedIn }: {
    /** Why the session before this has ended; null: there was none, or it was left. */
    ended: string | null;
    onSignedIn: (it: SignedIn) => Promise<void>;
  },
): JSX.Element {
  return (
    <SignInPage
      title="Sign in to your rooms"
      site="unibus"
      ended={ended}
      task={useTask()}
      trouble={(failure) => <Notice tone="bad">{failure}</Notice>}
      choose={(kept) => {
        const resume = kept.length === 1 && !isOut() ? kept[0]!.keys : null;
        return Promise.resolve({ found: kept, resume });
      }}
      enter={async (keys, keeps) => {
        const api = apiOf(keys);
        const { user, waitingFor } = await activeUser(api, keys.signPub);
        const at = new Date().toISOString();
        if (keeps) await keep({ keys, handle: user.handle, registered: true, at });
        markOut(false);
        await onSignedIn({ keys, user, waitingFor, api });
      }}
      offer="Keep the key in this browser, in a form that can sign but cannot be read out"
    >
      Keys stay in this browser and are never sent. No key yet? You need an invite: ask an admin of
      this server for a link.
    </SignInPage>
  );
}
