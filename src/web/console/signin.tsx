/**
 * Signing in: with the key this browser keeps, or with a key file.
 *
 * @module
 */

import type { JSX } from "preact";
import type { User } from "../../core/model.ts";
import { clientOf } from "../shared/api.ts";
import { visible } from "../shared/format.ts";
import type { Keys } from "../shared/keys.ts";
import { dropFromTab, keepInTab, keptInTab } from "../shared/tab.ts";
import { activeUser, SignInPage } from "../shared/ui/signin.tsx";
import { Failure, failureOf, isAway } from "./data/failure.ts";
import { useTask } from "./hooks.ts";
import { Trouble } from "./ui/trouble.tsx";

/** What {@link SignIn} gives when a user has signed in. */
export interface SignedIn {
  readonly keys: Keys;
  readonly user: User;
  /** False: the person wants to stay signed in, and the browser keeps nothing. */
  readonly isKept: boolean;
}

/** The view. */
export function SignIn(
  { ended, onSignedIn }: {
    /** Why the session before this has ended; null: there was none, or it was left. */
    ended: string | null;
    onSignedIn: (it: SignedIn) => void;
  },
): JSX.Element {
  return (
    <SignInPage
      title="Sign in to the console"
      site="unibus console"
      ended={ended}
      task={useTask()}
      trouble={(failure) => <Trouble failure={failure} />}
      choose={async (kept) => {
        const tab = await keptInTab();
        if (tab === null) return { found: kept, resume: null };
        const own = kept.find((it) => it.keys.signPub === tab.keys.signPub);
        const forget = async (): Promise<void> => {
          await dropFromTab();
          await own?.forget();
        };
        const others = kept.filter((it) => it !== own);
        return { found: [{ ...tab, forget }, ...others], resume: tab.keys };
      }}
      enter={async (keys, keeps) => {
        const user = await adminOf(keys).catch((error) => {
          if (!mayPass(failureOf(error))) void dropFromTab();
          throw error;
        });
        const isKept = !keeps || await keepInTab({ keys, handle: user.handle });
        onSignedIn({ keys, user, isKept });
      }}
      offer={
        <>
          Stay signed in when this page is reloaded
          <span class="muted small hint">
            Until you sign out or close this tab, for up to 12 hours. The browser keeps the keys in
            a form that cannot be copied.
          </span>
        </>
      }
    >
      Keys stay in this browser: they sign your requests and are never sent. Signing out removes
      those that came from a key file.
    </SignInPage>
  );
}

/** Whether signing in with the same keys may succeed later. */
function mayPass(failure: Failure): boolean {
  return isAway(failure) || failure.kind === "clock";
}

/** Who the keys belong to, when that is an admin. */
async function adminOf(keys: Keys): Promise<User> {
  const { user } = await activeUser(clientOf(keys), keys.signPub);
  if (user.role === "admin") return user;
  throw new Failure(
    "problem",
    `${
      visible(user.handle)
    } is not an admin here. The console is for admins: ask one to make you ` +
      "an admin.",
  );
}
