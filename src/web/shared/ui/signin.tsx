/**
 * Signing in: with a key that this browser keeps, or with a key file.
 *
 * @module
 */

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Calls } from "../../../client/http/client.ts";
import { isStoreError } from "../../../core/errors.ts";
import { meOf } from "../api.ts";
import { shortKey, visible } from "../format.ts";
import { drop, type Kept, kept } from "../keep.ts";
import { type Keys, type Lack, lackOf } from "../keys.ts";
import { Name } from "./key.tsx";
import { KeyFile } from "./key_file.tsx";
import { Button, Heading, Logo, Notice, useFocus, Waiting } from "./page.tsx";
import type { Task } from "./task.ts";

/** Returns whose client it is; rejects if they are not an active user's. */
export async function activeUser(client: Pick<Calls, "me">, signPub: string) {
  const me = await meOf(client);
  if (me !== null) return me;
  throw new Error(
    `The key ${
      shortKey(signPub)
    } does not belong to an active user of this server: its access was ` +
      "revoked, or it is for another server. Choose another key file, or ask an admin",
  );
}

/** Keys in this browser. */
export interface Found extends Pick<Kept, "keys" | "handle"> {
  /** Removes them from this browser. */
  forget(): Promise<void>;
}

/** What {@link SignInPage} takes. */
export interface SignInProps<F> {
  title: string;
  site: string;
  /** Why the session before this has ended; null: there was none, or it was left. */
  ended: string | null;
  /** Says which keys to show, given those that this browser keeps, and which to sign in with at once. */
  choose: (kept: readonly Found[]) => Promise<{ found: readonly Found[]; resume: Keys | null }>;
  /** Signs in; `keeps`: as the box under the key file says. */
  enter: (keys: Keys, keeps: boolean) => Promise<void>;
  task: Task<F>;
  trouble: (failure: F) => JSX.Element;
  /** What the box under the key file offers. */
  offer: ComponentChildren;
  /** Said at the end. */
  children: ComponentChildren;
}

/** The view. */
export function SignInPage<F>(props: SignInProps<F>): JSX.Element {
  const { title, site, ended, choose, enter, task, trouble, offer, children } = props;
  const [lack, setLack] = useState<Lack | null>(null);
  const [found, setFound] = useState<readonly Found[] | null>(null);
  const [isResuming, setResuming] = useState(false);
  const [keeps, setKeeps] = useState(false);
  /** The keys of a file that was opened, with which signing in can be tried again. */
  const [opened, setOpened] = useState<Keys | null>(null);
  useEffect(() => {
    void lackOf().then(setLack);
    void (async () => {
      const registered = (await kept()).filter((it) => it.registered);
      const { found, resume } = await choose(registered.map(({ keys, handle }) => ({
        keys,
        handle,
        forget: () => drop(keys.signPub),
      })));
      setFound(found);
      if (resume === null) return;
      setResuming(true);
      task.run(() => enter(resume, false));
    })();
  }, []);
  const enterWithFile = (keys: Keys): void => {
    setOpened(keys);
    task.run(async () => {
      try {
        await enter(keys, keeps);
      } catch (error) {
        // Only the server and the network may say something else the next time.
        if (!isStoreError(error)) setOpened(null);
        throw error;
      }
    });
  };
  const forget = (it: Found): void => {
    // The question stays until it is done.
    setResuming(false);
    task.run(async () => {
      await it.forget();
      setFound(found!.filter((other) => other !== it));
    });
  };
  return (
    <main class="signin">
      <div class="signin-head">
        <Logo />
        <div>
          <Heading title="Sign in" site={site}>{title}</Heading>
          <p class="muted">{location.host}</p>
        </div>
      </div>
      {ended !== null && <Notice tone="bad">{ended}</Notice>}
      {lack !== null
        ? <Lacking lack={lack} />
        : found === null || isResuming && task.busy
        ? <Waiting what="Signing in" />
        : (
          <>
            {task.failure !== null && trouble(task.failure)}
            {found.length > 0 && (
              <section class="panel" aria-labelledby="browser-key">
                <h2 id="browser-key">With a key in this browser</h2>
                <ul class="kept">
                  {found.map((it) => (
                    <KeptKey
                      key={it.keys.signPub}
                      it={it}
                      busy={task.busy}
                      enter={() => {
                        setOpened(null);
                        task.run(() => enter(it.keys, false));
                      }}
                      forget={() => forget(it)}
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
                <span>{offer}</span>
              </label>
              <KeyFile
                hint={
                  <>
                    The invite page or <code>membershipd identity create</code> created it.
                  </>
                }
                action="Open and sign in"
                onChoose={() => {
                  setResuming(false);
                  setOpened(null);
                  task.clear();
                }}
                onKeys={enterWithFile}
              />
              {opened !== null && <Entering busy={task.busy} again={() => enterWithFile(opened)} />}
            </section>
            <p class="muted small">{children}</p>
          </>
        )}
    </main>
  );
}

function KeptKey(
  { it, busy, enter, forget }: {
    it: Found;
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
      <span>
        <b>
          <Name>{it.handle}</Name>
        </b>
        <code class="who-key">{shortKey(it.keys.signPub)}</code>
      </span>
      <div class="actions">
        <Button look="quiet" label={`Forget ${name}`} onClick={() => ask(true)}>Forget</Button>
        <Button look="primary" busy={busy} label={`Sign in as ${name}`} onClick={enter}>
          Sign in
        </Button>
      </div>
    </li>
  );
}

/** Says that one is being signed in with a file; tries again when that has failed. */
function Entering({ busy, again }: { busy: boolean; again: () => void }): JSX.Element {
  const button = useFocus<HTMLButtonElement>();
  return (
    <div class="actions">
      <Button look="primary" buttonRef={button} busy={busy} onClick={again}>
        {busy ? "Signing in" : "Try again"}
      </Button>
    </div>
  );
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
