/**
 * Signing in: with the key that this browser keeps, or with a key file.
 *
 * @module
 */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { isStoreError } from "../../core/errors.ts";
import { shortKey, visible } from "../shared/format.ts";
import { drop, keep, type Kept, kept } from "../shared/keep.ts";
import { KeyFile } from "../shared/ui/key_file.tsx";
import { type Keys, type Lack, lackOf } from "../shared/keys.ts";
import { Button, Heading, Logo, Notice } from "../shared/ui/page.tsx";
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
  const [lack, setLack] = useState<Lack | null>(null);
  const [found, setFound] = useState<Kept[] | null>(null);
  const [keeps, setKeeps] = useState(false);
  const { busy, failure, run } = useTask();
  const enter = (keys: Keys, isKept: boolean): void =>
    run(async () => {
      const who = await whoIs(keys);
      const at = new Date().toISOString();
      if (isKept) await keep({ keys, handle: who.user.handle, registered: true, at });
      markOut(false);
      await onSignedIn(who);
    });
  useEffect(() => {
    void lackOf().then(setLack);
    void kept().then((all) => {
      const mine = all.filter((it) => it.registered);
      setFound(mine);
      if (mine.length === 1 && !isOut()) enter(mine[0]!.keys, false);
    });
  }, []);
  const forget = (it: Kept): void =>
    run(async () => {
      await drop(it.keys.signPub);
      setFound(found!.filter((other) => other !== it));
    });
  return (
    <main class="signin">
      <div class="signin-head">
        <Logo />
        <div>
          <Heading title="Sign in" site="unibus">Sign in to your rooms</Heading>
          <p class="muted">{location.host}</p>
        </div>
      </div>
      {ended !== null && <Notice tone="bad">{ended}</Notice>}
      {lack !== null ? <Lacking lack={lack} /> : (
        <>
          {failure !== null && <Notice tone="bad">{failure}</Notice>}
          {found !== null && found.length > 0 && (
            <section class="panel" aria-labelledby="browser-key">
              <h2 id="browser-key">With a key in this browser</h2>
              <ul class="people">
                {found.map((it) => (
                  <KeptKey
                    key={it.keys.signPub}
                    it={it}
                    busy={busy}
                    enter={() => enter(it.keys, false)}
                    forget={() =>
                      forget(it)}
                  />
                ))}
              </ul>
            </section>
          )}
          <section class="panel" aria-labelledby="key-file">
            <h2 id="key-file">With a key file</h2>
            <label class="check">
              <input
                type="checkbox"
                checked={keeps}
                onChange={(event) => setKeeps(event.currentTarget.checked)}
              />
              <span>
                Keep the key in this browser, in a form that can sign but cannot be read out
              </span>
            </label>
            <KeyFile
              hint={
                <>
                  The invite page or <code>membershipd identity create</code> created it.
                </>
              }
              action="Open and sign in"
              busy={busy}
              onKeys={(keys) => enter(keys, keeps)}
            />
          </section>
          <p class="muted small">
            Keys stay in this browser and are never sent. No key yet? You need an invite: ask an
            admin of this server for a link.
          </p>
        </>
      )}
    </main>
  );
}

function KeptKey(
  { it, busy, enter, forget }: {
    it: Kept;
    busy: boolean;
    enter: () => void;
    forget: () => void;
  },
): JSX.Element {
  const [asks, ask] = useState(false);
  const name = visible(it.handle);
  if (asks) {
    return (
      <li class="forget">
        <p class="small">
          Forget the key of <bdi>{name}</bdi>{" "}
          in this browser? Without the key file it is lost, and no one can restore it.
        </p>
        <div class="actions">
          <Button onClick={() => ask(false)}>Keep it</Button>
          <Button look="danger" onClick={forget}>Forget it</Button>
        </div>
      </li>
    );
  }
  return (
    <li>
      <span class="person-facts">
        <bdi class="name">{name}</bdi>
        <code class="who-key">{shortKey(it.keys.signPub)}</code>
      </span>
      <Button look="quiet" label={`Forget ${name}`} onClick={() => ask(true)}>Forget</Button>
      <Button look="primary" busy={busy} label={`Sign in as ${name}`} onClick={enter}>
        Sign in
      </Button>
    </li>
  );
}

/** The active user that the keys belong to. */
async function whoIs(keys: Keys): Promise<SignedIn> {
  const api = apiOf(keys);
  const none = `The key ${
    shortKey(keys.signPub)
  } does not belong to an active user of this server.`;
  const { user, waitingFor } = await api.me().catch((error) => {
    throw isStoreError(error, "forbidden") ? new Error(none.slice(0, -1), { cause: error }) : error;
  });
  if (user === null || user.status !== "active") throw new Error(none.slice(0, -1));
  return { keys, user, waitingFor, api };
}

function Lacking({ lack }: { lack: Lack }): JSX.Element {
  return (
    <Notice tone="bad">
      {lack === "insecure"
        ? "Browsers use keys only on pages loaded over HTTPS, or from this machine. Open this page " +
          "with https://, or on the server itself as http://127.0.0.1."
        : "This browser is too old: it cannot use Ed25519 and X25519 keys. A current Firefox, " +
          "Chrome, Edge or Safari can."}
    </Notice>
  );
}
