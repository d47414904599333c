/**
 * The steps on the way in: a name, the key file, and instead of new keys a file one has.
 *
 * @module
 */

import type { JSX } from "preact";
import { useRef, useState } from "preact/hooks";
import type { Secrets } from "../../keys/identity_format.ts";
import * as check from "../../core/validate.ts";
import { writeIdentity } from "../shared/identity.ts";
import { inSteps, KeyFile } from "../shared/ui/key_file.tsx";
import type { Keys } from "../shared/keys.ts";
import { CopyButton } from "../shared/ui/copy.tsx";
import { Button, download, Field, Form, Heading, Notice } from "../shared/ui/page.tsx";

const SITE = "unibus";

/** Where one is on the way. */
function Step({ at }: { at: 1 | 2 }): JSX.Element {
  return <p class="step muted small">Step {at} of 2</p>;
}

/** Asks for the name. */
export function NameForm(props: {
  handle: string;
  error?: string | null;
  /** Whether keys are there already, from a file. */
  hasKeys: boolean;
  /** The room that the invite is for; null for none. */
  room: string | null;
  onHandle: (handle: string) => void;
  onFile: () => void;
}): JSX.Element {
  const [handle, setHandle] = useState(props.handle);
  const [error, setError] = useState(props.error ?? null);
  return (
    <>
      {!props.hasKeys && <Step at={1} />}
      <Heading title="Join" site={SITE}>You are invited to unibus</Heading>
      {props.room !== null && (
        <p>
          The invite is for the room <strong>{props.room}</strong>.
        </p>
      )}
      {props.hasKeys ? <p>Your keys have been read. What should others call you here?</p> : (
        <p>
          Choose a name. This page then creates your keys, here in your browser. The private ones
          never leave it, except in a key file that you save yourself.
        </p>
      )}
      <Form
        onSubmit={() => {
          const fault = faultOf(handle);
          setError(fault);
          if (fault === null) props.onHandle(handle.trim());
        }}
      >
        <Field
          label="Your name"
          hint="Others in your rooms see it. It can be a nickname."
          value={handle}
          error={error}
          autoComplete="nickname"
          required
          onInput={(value) => {
            setHandle(value);
            setError(null);
          }}
        />
        <div class="actions">
          <Button look="primary">{props.hasKeys ? "Join" : "Continue"}</Button>
          {!props.hasKeys && (
            <Button look="quiet" onClick={props.onFile}>I already have a key file</Button>
          )}
        </div>
      </Form>
    </>
  );
}

function faultOf(handle: string): string | null {
  if (handle.trim() === "") return "Enter a name";
  try {
    check.handle("handle", handle.trim());
    return null;
  } catch {
    return "A name must have at most 64 characters, without line breaks or invisible characters";
  }
}

/** The name of a person's key file. */
export function fileName(handle: string): string {
  const plain = handle.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase().replace(
    /[^a-z0-9]+/g,
    "-",
  );
  return `unibus-${plain.replace(/^-|-$/g, "").slice(0, 40) || "identity"}.json`;
}

const SHORTEST = 8;

/** Has the keys saved to a file. It cannot be gone past without the person's word that it was. */
export function SaveForm(props: {
  handle: string;
  secrets: Secrets;
  /** The file was written, with this name; resolves when the page may be closed. */
  onWritten: (file: string) => Promise<void>;
  /** The person has the file, of this name. */
  onSaved: (file: string) => void;
  onBack: () => void;
}): JSX.Element {
  const [passphrase, setPassphrase] = useState("");
  const [shown, setShown] = useState(false);
  const [error, setError] = useState<string | null>(null);
  const [progress, setProgress] = useState<number | null>(null);
  const [saved, setSaved] = useState<{ text: string; locked: boolean } | null>(null);
  const [confirmed, setConfirmed] = useState(false);
  const [missing, setMissing] = useState(false);
  const confirm = useRef<HTMLInputElement>(null);
  const name = fileName(props.handle);

  const showProgress = (part: number) => setProgress(inSteps(part));

  async function save(): Promise<void> {
    if (passphrase !== "" && [...passphrase].length < SHORTEST) {
      setError(`Use at least ${SHORTEST} characters, or leave it empty`);
      return;
    }
    const locked = passphrase !== "";
    if (locked) setProgress(0);
    try {
      const text = await writeIdentity(props.secrets, locked ? passphrase : null, showProgress);
      download(name, text);
      await props.onWritten(name);
      setSaved({ text, locked });
      setTimeout(() => confirm.current?.focus());
    } catch (error) {
      setError(error instanceof Error ? error.message : String(error));
    } finally {
      setProgress(null);
    }
  }

  return (
    <>
      <Step at={2} />
      <Heading title="Save your key file" site={SITE}>Save your key file</Heading>
      <p>
        This file is your identity,{" "}
        <strong>{props.handle}</strong>. Use it to access unibus from programs and other devices. No
        one can recreate it: not the admin, not this server.
      </p>
      <Form
        onSubmit={() => void save()}
      >
        {/* Password managers file a passphrase under this name. */}
        <input
          class="unseen"
          type="text"
          autoComplete="username"
          value={name}
          readOnly
          tabIndex={-1}
          aria-hidden="true"
        />
        <Field
          label="Passphrase for the key file"
          hint="Recommended: a few random words. Without one, anyone who gets the file can act as you."
          type={shown ? "text" : "password"}
          autoComplete="new-password"
          value={passphrase}
          error={error}
          disabled={progress !== null}
          onInput={(value) => {
            setPassphrase(value);
            setError(null);
            setSaved(null);
          }}
        />
        <label class="check">
          <input
            type="checkbox"
            checked={shown}
            onChange={(event) => setShown(event.currentTarget.checked)}
          />
          <span>Show the passphrase</span>
        </label>
        <div class="actions">
          <Button look={saved === null ? "primary" : undefined} busy={progress !== null}>
            {progress !== null
              ? `Encrypting the file … ${Math.round(progress * 100)} %`
              : saved === null
              ? "Save the file"
              : "Save it again"}
          </Button>
          {saved === null && <Button look="quiet" onClick={props.onBack}>Back</Button>}
        </div>
      </Form>
      {saved !== null && (
        <Form
          onSubmit={() => {
            if (confirmed) return props.onSaved(name);
            setMissing(true);
            confirm.current?.focus();
          }}
        >
          <Notice tone={saved.locked ? "good" : "warn"}>
            <p role="status">
              <strong>{name}</strong> is in your downloads{saved.locked
                ? ", protected by your passphrase."
                : ". It has no passphrase: keep it where only you can read it."}
            </p>
            <p class="small">
              No file in your downloads?{" "}
              <CopyButton text={saved.text} label="Copy its contents" look="link" />{" "}
              and paste them into a file of that name, or into your password manager.
            </p>
          </Notice>
          <div>
            <label class="check">
              <input
                ref={confirm}
                type="checkbox"
                checked={confirmed}
                aria-invalid={missing ? "true" : undefined}
                aria-describedby={missing ? "confirm-error" : undefined}
                onChange={(event) => {
                  setConfirmed(event.currentTarget.checked);
                  setMissing(false);
                }}
              />
              <span>
                I have the file{saved.locked && " and the passphrase"}, and understand that no one
                can restore
                {saved.locked ? " them." : " it."}
              </span>
            </label>
            {missing && (
              <p class="error" id="confirm-error" role="alert">
                Check that the file was saved, then tick the box
              </p>
            )}
          </div>
          <div class="actions">
            <Button look="primary">Join</Button>
          </div>
        </Form>
      )}
    </>
  );
}

/** Reads a key file that one has. */
export function FileForm(
  props: { onKeys: (keys: Keys, file: string | null) => void; onBack: () => void },
): JSX.Element {
  return (
    <>
      <Heading title="Use a key file" site={SITE}>Use the key file you have</Heading>
      <KeyFile
        hint={
          <>
            It is read in your browser and not sent. Its name often begins with{" "}
            <code>unibus-</code>.
          </>
        }
        action="Continue"
        onKeys={props.onKeys}
      />
      <div class="actions">
        <Button look="quiet" onClick={props.onBack}>Create new keys instead</Button>
      </div>
    </>
  );
}
