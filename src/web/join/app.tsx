/**
 * The way from a link to a registered key, as one state.
 *
 * @module
 */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { User } from "../../core/model.ts";
import { isStoreError } from "../../core/errors.ts";
import { clientOf, meOf } from "../shared/api.ts";
import { drop, keep, kept } from "../shared/keep.ts";
import type { Secrets } from "../../keys/identity_format.ts";
import { createSecrets, forget, type Keys, keysOf, lackOf } from "../shared/keys.ts";
import { Heading } from "../shared/ui/page.tsx";
import { AlreadyPage, DonePage, ResumePage } from "./arrived.tsx";
import { claim, type Trouble, type TroubleKind, troubleOf } from "./claim.ts";
import { FileForm, NameForm, SaveForm } from "./forms.tsx";
import { takeToken } from "./token.ts";
import { TroublePage } from "./trouble.tsx";

type View =
  | { is: "busy"; text: string }
  | { is: "name"; keys: Keys | null; error?: string }
  | { is: "file" }
  | { is: "save"; secrets: Secrets }
  | { is: "resume"; keys: Keys }
  | { is: "already"; user: User; keys: Keys; isOpen: boolean }
  /** `isKept` is false where the browser would not keep the keys. */
  | { is: "done"; user: User; keys: Keys; isKept: boolean }
  | { is: "trouble"; trouble: Trouble; retry: () => void };

/** What outlives a view. */
interface Memory {
  token: string | null;
  /** The room that the invite is for. */
  room: string | null;
  handle: string;
  /** The name of the file that was saved. */
  file: string | null;
  /** Counts what was begun: only the last of it may show something. */
  turn: number;
}

/** Why an invite can no longer be used. */
const SPENT: ReadonlySet<TroubleKind> = new Set(["used", "expired", "canceled", "unknown"]);

/** The page. */
export function App(): JSX.Element {
  const [view, setView] = useState<View>({ is: "busy", text: "Opening your invite" });
  const memory =
    useRef<Memory>({ token: null, room: null, handle: "", file: null, turn: 0 }).current;

  useEffect(() => {
    void begin();
    // Another link that is pasted into the same tab changes the fragment only.
    const again = () => location.hash.length > 1 && void begin();
    addEventListener("hashchange", again);
    return () => removeEventListener("hashchange", again);
  }, []);

  /**
   * Shows at once that it is under way, so that nothing can be pressed twice; then what `work` gives, or
   * what went wrong with a way to do it again.
   */
  async function attempt(text: string, work: () => Promise<View>): Promise<void> {
    const turn = ++memory.turn;
    setView({ is: "busy", text });
    const next = await work().catch((error): View => {
      const trouble = troubleOf(error);
      return { is: "trouble", trouble, retry: () => void attempt(text, work) };
    });
    if (turn === memory.turn) setView(next);
  }

  function stopped(kind: TroubleKind): View {
    return { is: "trouble", trouble: { kind }, retry: () => void begin() };
  }

  async function begin(): Promise<void> {
    const found = takeToken();
    memory.token = found.is === "token" ? found.token : null;
    await attempt("Opening your invite", async () => {
      const lack = await lackOf();
      if (lack !== null) return stopped(lack);
      for (const { keys, handle, file = null, registered, at } of await kept()) {
        const me = await meOf(clientOf(keys));
        if (me !== null) {
          const { user } = me;
          memory.file = file;
          if (!registered) await keep({ keys, handle: user.handle, file, registered: true, at });
          if (found.is === "none") return { is: "done", user, keys, isKept: true };
          const isOpen = found.is === "token" && await isUsable(found.token);
          return { is: "already", user, keys, isOpen };
        }
        if (registered || found.is !== "token") continue;
        await look(found.token);
        memory.handle = handle;
        memory.file = file;
        return { is: "resume", keys };
      }
      if (found.is === "none") return stopped("no_link");
      if (found.is === "mistyped") return stopped("mistyped");
      // Before any keys are made: they would be for nothing.
      await look(found.token);
      return { is: "name", keys: null };
    });
  }

  /** Asks whether an invite can still be used; rejects if it cannot. */
  async function look(token: string): Promise<void> {
    const { room = null } = await clientOf(null).checkInvite(token);
    memory.room = room;
  }

  async function isUsable(token: string): Promise<boolean> {
    try {
      await look(token);
      return true;
    } catch (error) {
      if (SPENT.has(troubleOf(error).kind)) return false;
      throw error;
    }
  }

  function named(handle: string, keys: Keys | null): void {
    memory.handle = handle;
    if (keys !== null) return void attempt("Joining", () => join(keys));
    void attempt(
      "Creating your keys",
      async () => ({ is: "save", secrets: await createSecrets() }),
    );
  }

  /** Kept from now on: a person who closes the page here continues with the file that was written. */
  async function written(secrets: Secrets, file: string): Promise<void> {
    const at = new Date().toISOString();
    const { handle } = memory;
    await keep({ keys: await keysOf(secrets), handle, file, registered: false, at });
  }

  /** From here on the bytes of the private keys are in the file, and in no script's reach. */
  function saved(secrets: Secrets, file: string): void {
    memory.file = file;
    let keys: Keys | null = null;
    void attempt("Joining", async () => {
      if (keys === null) {
        keys = await keysOf(secrets);
        forget(secrets);
      }
      return await join(keys);
    });
  }

  /** A key that is registered would spend the invite for nothing, so that is asked first. */
  function read(keys: Keys, file: string | null): void {
    memory.file = file;
    void attempt("Looking for your keys", async () => {
      const me = await meOf(clientOf(keys));
      return me === null
        ? { is: "name", keys }
        : { is: "already", user: me.user, keys, isOpen: true };
    });
  }

  async function join(keys: Keys): Promise<View> {
    const { handle, token, file } = memory;
    if (token === null) return stopped("no_link");
    const at = new Date().toISOString();
    // Before it is asked: whatever happens then, the keys are there to ask again.
    const isKept = await keep({ keys, handle, file, registered: false, at });
    try {
      const user = await claim(clientOf(keys), token, handle);
      memory.token = null;
      if (isKept) await keep({ keys, handle: user.handle, file, registered: true, at });
      return { is: "done", user, keys, isKept };
    } catch (error) {
      if (!isStoreError(error) || error.field !== "handle") throw error;
      return { is: "name", keys, error: "The server does not accept this name" };
    }
  }

  function startOver(): void {
    memory.handle = "";
    memory.file = null;
    setView({ is: "name", keys: null });
  }

  switch (view.is) {
    case "busy":
      return (
        <>
          <Heading title={view.text} site="unibus">{view.text} …</Heading>
          <p class="muted">This takes a moment.</p>
        </>
      );
    case "name":
      return (
        <NameForm
          handle={memory.handle}
          error={view.error}
          hasKeys={view.keys !== null}
          room={memory.room}
          onHandle={(handle) => named(handle, view.keys)}
          onFile={() => setView({ is: "file" })}
        />
      );
    case "file":
      return (
        <FileForm
          onKeys={read}
          onBack={() => setView({ is: "name", keys: null })}
        />
      );
    case "save":
      return (
        <SaveForm
          handle={memory.handle}
          secrets={view.secrets}
          onWritten={(file) => written(view.secrets, file)}
          onSaved={(file) => saved(view.secrets, file)}
          onBack={() => {
            forget(view.secrets);
            setView({ is: "name", keys: null });
          }}
        />
      );
    case "resume":
      return (
        <ResumePage
          handle={memory.handle}
          keys={view.keys}
          onResume={() => void attempt("Joining", () => join(view.keys))}
          onAnew={() => {
            void drop(view.keys.signPub);
            startOver();
          }}
        />
      );
    case "already":
      return (
        <AlreadyPage
          user={view.user}
          isOpen={view.isOpen}
          onAnew={memory.token === null || !view.isOpen ? null : startOver}
          onDone={() => setView({ is: "done", user: view.user, keys: view.keys, isKept: true })}
        />
      );
    case "done":
      return <DonePage user={view.user} keys={view.keys} file={memory.file} isKept={view.isKept} />;
    case "trouble":
      return (
        <TroublePage
          trouble={view.trouble}
          hasFile={memory.file !== null}
          onRetry={view.retry}
          onToken={(token) => {
            memory.token = token;
            location.hash = token;
          }}
        />
      );
  }
}
