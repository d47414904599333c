/**
 * Opening a key file in the browser.
 *
 * @module
 */

import type { ComponentChildren, JSX } from "preact";
import { useId, useRef, useState } from "preact/hooks";
import { isStoreError } from "../../../core/errors.ts";
import { peek, readIdentity } from "../identity.ts";
import { forget, type Keys } from "../keys.ts";
import { Button, Field, Form, Notice, useFocus } from "./page.tsx";

/** A file of more than this is no key file. */
const MOST_BYTES = 16_384;

/** What {@link KeyFile} takes. */
export interface KeyFileProps {
  hint: ComponentChildren;
  /** What the button says that opens a file under a passphrase. */
  action: string;
  /** Called when another file is chosen. */
  onChoose?: () => void;
  /** Called with the keys; the file's name is null where it cannot stand in a command. */
  onKeys: (keys: Keys, file: string | null) => void;
}

/** Has a key file chosen and opens it, with its passphrase where it is under one. */
export function KeyFile({ hint, action, onChoose, onKeys }: KeyFileProps): JSX.Element {
  const input = useId();
  const [locked, lock] = useState<{ name: string; text: string } | null>(null);
  const [error, setError] = useState<string | null>(null);
  /** Counts the choices: what is read of a file counts only while no other was chosen. */
  const choices = useRef(0);

  async function open(
    { name, text }: { name: string; text: string },
    passphrase?: string,
    onProgress?: (part: number) => void,
  ): Promise<void> {
    const choice = choices.current;
    setError(null);
    try {
      const { secrets, keys } = await readIdentity(text, passphrase, onProgress);
      forget(secrets);
      if (choices.current !== choice) return;
      lock(null);
      onKeys(keys, /^[\w.-]+$/.test(name) ? name : null);
    } catch (error) {
      if (choices.current === choice) setError(said(error));
    }
  }

  async function choose(file: File | undefined): Promise<void> {
    const choice = ++choices.current;
    onChoose?.();
    setError(null);
    lock(null);
    if (file === undefined) return;
    try {
      const text = file.size > MOST_BYTES ? "" : await file.text();
      if (choices.current !== choice) return;
      const chosen = { name: file.name, text };
      if (peek(text).locked) lock(chosen);
      else await open(chosen);
    } catch (error) {
      if (choices.current === choice) setError(said(error));
    }
  }

  return (
    <div class="stack">
      <div class="field">
        <label for={input}>Key file</label>
        <div class="muted small" id={`${input}-hint`}>{hint}</div>
        <input
          id={input}
          class="input file"
          type="file"
          aria-describedby={`${input}-hint`}
          accept=".json,application/json"
          // So that the same file can be chosen again.
          onClick={(event) => event.currentTarget.value = ""}
          onChange={(event) => void choose(event.currentTarget.files?.[0])}
        />
      </div>
      {error !== null && <Notice tone="bad">{error}</Notice>}
      {locked !== null && (
        <Unlock
          key={locked.text}
          action={action}
          open={(passphrase, onProgress) => open(locked, passphrase, onProgress)}
        />
      )}
    </div>
  );
}

function Unlock(
  { action, open }: Pick<KeyFileProps, "action"> & {
    open: (passphrase: string, onProgress: (part: number) => void) => Promise<void>;
  },
): JSX.Element {
  const field = useFocus<HTMLInputElement>();
  const [passphrase, setPassphrase] = useState("");
  const [progress, setProgress] = useState<number | null>(null);
  return (
    <Form
      onSubmit={() => {
        if (passphrase === "" || progress !== null) return;
        setProgress(0);
        void open(passphrase, (part) => setProgress(inSteps(part))).then(() => setProgress(null));
      }}
    >
      <Field
        label="Passphrase of the key file"
        hint="The key file is encrypted. Opening it takes a second or two."
        type="password"
        autoComplete="current-password"
        inputRef={field}
        value={passphrase}
        onInput={setPassphrase}
      />
      <div class="actions">
        <Button
          look="primary"
          busy={progress !== null}
          disabled={passphrase === ""}
        >
          {progress === null ? action : `Opening … ${Math.round(progress * 100)} %`}
        </Button>
      </div>
    </Form>
  );
}

/** Progress as it is worth to be drawn. */
export function inSteps(part: number): number {
  return Math.floor(part * 50) / 50;
}

function said(error: unknown): string {
  if (!isStoreError(error)) return "The file could not be read. Choose it again.";
  if (error.field === "passphrase") {
    return "The passphrase does not open this key file. Check it and try again.";
  }
  return error.code === "unsupported"
    ? "The key file has a newer version than this page can read. Ask the server's admin to update it."
    : "This is not a key file, or it is damaged. Choose another file.";
}
