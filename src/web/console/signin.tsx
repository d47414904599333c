/**
 * Signing in: with the key this browser keeps, or with an identity file.
 *
 * @module
 */

import type { JSX } from "preact";
import { useEffect, useId, useState } from "preact/hooks";
import type { User } from "../../core/model.ts";
import { callerOf } from "../shared/api.ts";
import { peek, readIdentity } from "../shared/identity.ts";
import { type Kept, kept } from "../shared/keep.ts";
import { forget, type Keys, type Lack, lackOf } from "../shared/keys.ts";
import { Button, Field, Form, Heading, Logo } from "../shared/page.tsx";
import { type Api, apiOf } from "./data/api.ts";
import { Failure, failureOf } from "./data/failure.ts";
import { shortKey, visible } from "./format.ts";
import { useTask } from "./hooks.ts";
import { useFocus } from "./ui/dialog.tsx";
import { Name } from "./ui/key.tsx";
import { Trouble } from "./ui/pieces.tsx";

/** What {@link SignIn} gives when somebody has signed in. */
export interface SignedIn {
  readonly keys: Keys;
  readonly user: User;
}

/** An identity file of more than this is none. */
const MOST_BYTES = 64 * 1024;

/** The view. */
export function SignIn(
  { ended, onSignedIn }: {
    /** Why the session before this has ended; null: there was none, or it was left. */
    ended: string | null;
    onSignedIn: (it: SignedIn) => void;
  },
): JSX.Element {
  const [lack, setLack] = useState<Lack | null>(null);
  const [found, setFound] = useState<Kept[]>([]);
  useEffect(() => {
    void lackOf().then(setLack);
    void kept().then((all) => setFound(all.filter((it) => it.registered)));
  }, []);
  const task = useTask();
  const enter = (keys: () => Promise<Keys | null>): void =>
    task.run(async () => {
      const own = await keys();
      if (own !== null) onSignedIn({ keys: own, user: await adminOf(own) });
    });

  return (
    <main class="signin">
      <div class="signin-head">
        <Logo />
        <div>
          <Heading title="Sign in" site="unibus console">Sign in to the console</Heading>
          <p class="muted">{location.host}</p>
        </div>
      </div>
      {ended !== null && <div class="notice bad" role="alert">{ended}</div>}
      {lack !== null ? <Lacking lack={lack} /> : (
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
                      onClick={() => enter(() => Promise.resolve(it.keys))}
                    >
                      Sign in
                    </Button>
                  </li>
                ))}
              </ul>
            </section>
          )}
          <FromFile enter={enter} busy={task.busy} />
          <p class="muted small">
            Keys stay in this browser: they sign your requests and are never sent. Signing out, or
            closing the page, forgets what came from a file.
          </p>
        </>
      )}
    </main>
  );
}

/** Who the keys belong to, when that is an admin. */
async function adminOf(keys: Keys): Promise<User> {
  const { user } = await refusedInWords(keys, apiOf(callerOf(keys), () => {}).me());
  if (user === null) {
    throw new Failure(
      "problem",
      `The key ${shortKey(keys.signPub)} does not belong to a user of this server.`,
    );
  }
  if (user.role !== "admin" || user.status !== "active") {
    throw new Failure(
      "problem",
      `${
        visible(user.handle)
      } is not an admin here. The console is for admins: ask one to make you an admin.`,
    );
  }
  return user;
}

async function refusedInWords(keys: Keys, me: ReturnType<Api["me"]>): ReturnType<Api["me"]> {
  try {
    return await me;
  } catch (error) {
    const failure = failureOf(error);
    if (failure.kind !== "ended") throw failure;
    throw new Failure(
      "problem",
      `The key ${
        shortKey(keys.signPub)
      } does not belong to an active user of this server. Was its access ` +
        "revoked, or is the file for another server?",
    );
  }
}

/** A file under a passphrase. */
interface Locked {
  name: string;
  text: string;
}

function FromFile(
  { enter, busy }: { enter: (keys: () => Promise<Keys | null>) => void; busy: boolean },
): JSX.Element {
  const input = useId();
  const [locked, lock] = useState<Locked | null>(null);
  const [passphrase, setPassphrase] = useState("");

  const take = (file: File | undefined): void => {
    lock(null);
    setPassphrase("");
    if (file === undefined) return;
    enter(async () => {
      if (file.size > MOST_BYTES) throw new Failure("problem", unreadable(null));
      const text = await file.text();
      if (!isLocked(text)) return await keysIn(text, null);
      lock({ name: file.name, text });
      return null;
    });
  };

  return (
    <section class="panel" aria-labelledby="identity-file">
      <h2 id="identity-file">With an identity file</h2>
      <div class="field">
        <label for={input}>Identity file</label>
        <div class="muted small" id={`${input}-hint`}>
          The invite page or <code>membershipd identity create</code> created it.
        </div>
        <input
          id={input}
          class="input file"
          type="file"
          aria-describedby={`${input}-hint`}
          accept=".json,application/json"
          // So that the same file can be chosen again.
          onClick={(event) => event.currentTarget.value = ""}
          onChange={(event) => take(event.currentTarget.files?.[0])}
        />
      </div>
      {locked !== null && (
        <Form
          onSubmit={() => {
            if (passphrase !== "") enter(() => keysIn(locked.text, passphrase));
          }}
        >
          <Passphrase file={locked.name} value={passphrase} onInput={setPassphrase} />
          <div class="actions">
            <Button look="primary" busy={busy} disabled={passphrase === ""}>
              {busy ? "Opening" : "Open and sign in"}
            </Button>
          </div>
        </Form>
      )}
    </section>
  );
}

function isLocked(text: string): boolean {
  try {
    return peek(text).locked;
  } catch (error) {
    throw new Failure("problem", unreadable(error));
  }
}

async function keysIn(text: string, passphrase: string | null): Promise<Keys> {
  try {
    const { secrets, keys } = await readIdentity(text, passphrase);
    forget(secrets);
    return keys;
  } catch (error) {
    throw new Failure("problem", unreadable(error));
  }
}

function Passphrase(
  { file, value, onInput }: { file: string; value: string; onInput: (value: string) => void },
): JSX.Element {
  const ref = useFocus<HTMLInputElement>();
  return (
    <Field
      label="Passphrase"
      hint={`${visible(file)} is protected. Opening it takes a second or two.`}
      type="password"
      autoComplete="off"
      inputRef={ref}
      value={value}
      onInput={onInput}
    />
  );
}

function unreadable(error: unknown): string {
  const { code, field } = (error ?? {}) as { code?: unknown; field?: unknown };
  if (field === "passphrase") return "The passphrase does not open this file.";
  return code === "unsupported"
    ? "The identity file has a newer version than this console can read."
    : "This is not an identity file. Choose the small JSON file written by membershipd or the invite page.";
}

function Lacking({ lack }: { lack: Lack }): JSX.Element {
  return (
    <div class="notice bad" role="alert">
      {lack === "insecure"
        ? "Browsers sign only on pages loaded over HTTPS, or from this machine. Open the console " +
          "with https://, or on the server itself as http://127.0.0.1."
        : "This browser is too old: it cannot sign with Ed25519. A current Firefox, Chrome, Edge or " +
          "Safari can."}
    </div>
  );
}
