/**
 * Signing in: with the key this browser keeps, or with a key file.
 *
 * @module
 */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { User } from "../../core/model.ts";
import { callerOf } from "../shared/api.ts";
import { type Kept, kept } from "../shared/keep.ts";
import { KeyFile } from "../shared/ui/key_file.tsx";
import { type Keys, type Lack, lackOf } from "../shared/keys.ts";
import { Button, Heading, Logo, Notice } from "../shared/ui/page.tsx";
import { dropFromTab, keepInTab, keptInTab } from "../shared/tab.ts";
import { apiOf } from "./data/api.ts";
import { Failure, failureOf } from "./data/failure.ts";
import { shortKey, visible } from "../shared/format.ts";
import { useTask } from "./hooks.ts";
import { Name } from "../shared/ui/key.tsx";
import { Trouble, Waiting } from "./ui/pieces.tsx";

/** What {@link SignIn} gives when somebody has signed in. */
export interface SignedIn {
  readonly keys: Keys;
  readonly user: User;
}

/** The view. */
export function SignIn(
  { ended, onSignedIn }: {
    /** Why the session before this has ended; null: there was none, or it was left. */
    ended: string | null;
    onSignedIn: (it: SignedIn) => void;
  },
): JSX.Element {
  const [lack, setLack] = useState<Lack | null>(null);
  const [found, setFound] = useState<Pick<Kept, "keys" | "handle">[]>([]);
  const [isKeeping, keepIt] = useState(false);
  const [isLooking, look] = useState(true);
  const [isResuming, resume] = useState(false);
  const task = useTask();
  const enter = (keys: Keys, then?: (user: User) => Promise<unknown>): void =>
    task.run(async () => {
      const user = await adminOf(keys).catch((error) => {
        if (!mayPass(failureOf(error))) void dropFromTab();
        throw error;
      });
      await then?.(user);
      onSignedIn({ keys, user });
    });
  useEffect(() => {
    void lackOf().then(setLack);
    void (async () => {
      const [tab, all] = await Promise.all([keptInTab(), kept()]);
      const others = all.filter((it) => it.registered && it.keys.signPub !== tab?.keys.signPub);
      setFound([...tab === null ? [] : [tab], ...others]);
      look(false);
      if (tab === null) return;
      resume(true);
      enter(tab.keys);
    })();
  }, []);

  return (
    <main class="signin">
      <div class="signin-head">
        <Logo />
        <div>
          <Heading title="Sign in" site="unibus console">Sign in to the console</Heading>
          <p class="muted">{location.host}</p>
        </div>
      </div>
      {ended !== null && <Notice tone="bad">{ended}</Notice>}
      {lack !== null
        ? <Lacking lack={lack} />
        : isLooking || isResuming && task.busy
        ? <Waiting what="Signing in" />
        : (
          <>
            {task.failure && <Trouble failure={task.failure} />}
            {found.length > 0 && (
              <section class="panel" aria-labelledby="browser-key">
                <h2 id="browser-key">With a key in this browser</h2>
                <ul class="kept">
                  {found.map((it) => (
                    <li key={it.keys.signPub}>
                      <span>
                        <b>
                          <Name>{it.handle}</Name>
                        </b>
                        <code class="who-key">{shortKey(it.keys.signPub)}</code>
                      </span>
                      <Button
                        look="primary"
                        busy={task.busy}
                        label={`Sign in as ${visible(it.handle)}`}
                        onClick={() => enter(it.keys)}
                      >
                        Sign in
                      </Button>
                    </li>
                  ))}
                </ul>
              </section>
            )}
            <section class="panel" aria-labelledby="key-file">
              <h2 id="key-file">With a key file</h2>
              <label class="check">
                <input
                  type="checkbox"
                  checked={isKeeping}
                  onChange={(event) => keepIt(event.currentTarget.checked)}
                />
                <span>
                  Stay signed in when this page is reloaded
                  <span class="muted small hint">
                    Until you sign out or close this tab, for up to 12 hours. The browser keeps the
                    keys in a form that cannot be copied.
                  </span>
                </span>
              </label>
              <KeyFile
                hint={
                  <>
                    The invite page or <code>membershipd identity create</code> created it.
                  </>
                }
                action="Open and sign in"
                busy={task.busy}
                onChoose={() => {
                  resume(false);
                  task.clear();
                }}
                onKeys={(keys) =>
                  enter(keys, async ({ handle }) => {
                    if (isKeeping) await keepInTab({ keys, handle });
                  })}
              />
            </section>
            <p class="muted small">
              Keys stay in this browser: they sign your requests and are never sent. Signing out
              removes those that came from a key file.
            </p>
          </>
        )}
    </main>
  );
}

/** Whether signing in with the same keys may succeed later. */
function mayPass({ kind, particulars: { code } }: Failure): boolean {
  return kind === "unreachable" || kind === "clock" || code === "unavailable";
}

/** Who the keys belong to, when that is an admin. */
async function adminOf(keys: Keys): Promise<User> {
  const refused = (text: string) => new Failure("problem", text);
  const noUser = `The key ${shortKey(keys.signPub)} does not belong to`;
  const { user } = await apiOf(callerOf(keys), () => {}).me().catch((error) => {
    const failure = failureOf(error);
    if (failure.kind !== "ended") throw failure;
    throw refused(
      `${noUser} an active user of this server. Was its access revoked, or is the file for ` +
        "another server?",
    );
  });
  if (user === null) throw refused(`${noUser} a user of this server.`);
  if (user.role === "admin" && user.status === "active") return user;
  const name = visible(user.handle);
  throw refused(
    `${name} is not an admin here. The console is for admins: ask one to make you an admin.`,
  );
}

function Lacking({ lack }: { lack: Lack }): JSX.Element {
  return (
    <Notice tone="bad">
      {lack === "insecure"
        ? "Browsers sign only on pages loaded over HTTPS, or from this machine. Open the console " +
          "with https://, or on the server itself as http://127.0.0.1."
        : "This browser is too old: it cannot sign with Ed25519. A current Firefox, Chrome, Edge or " +
          "Safari can."}
    </Notice>
  );
}
