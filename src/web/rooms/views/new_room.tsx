/**
 * Creating a room.
 *
 * @module
 */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { isStoreError } from "../../../core/errors.ts";
import * as check from "../../../core/validate.ts";
import { Field } from "../../shared/ui/page.tsx";
import { goTo } from "../place.ts";
import { useDesk } from "./parts/context.ts";
import { Ask } from "./parts/ui.tsx";

/** The dialog. */
export function NewRoom({ onClose }: { onClose: () => void }): JSX.Element {
  const desk = useDesk();
  const [name, setName] = useState("");
  const [error, setError] = useState<string | null>(null);
  const id = name.trim();
  return (
    <Ask
      title="New room"
      action="Create the room"
      check={() => {
        const fault = faultOf(id);
        setError(fault);
        return fault === null;
      }}
      work={async () => {
        await desk.create({ id });
        goTo(id);
      }}
      onClose={onClose}
    >
      <p>
        You will be its owner: this page creates its key, and seals it for the people you add. The
        name is shown to its members and to the server's admins, and can be used only once.
      </p>
      <Field
        label="Name"
        hint="Without spaces, such as kitchen or team-north"
        value={name}
        error={error}
        autoComplete="off"
        required
        onInput={(value) => {
          setName(value);
          setError(null);
        }}
      />
    </Ask>
  );
}

function faultOf(id: string): string | null {
  if (id === "") return "Enter a name";
  try {
    check.roomId("The name", id);
    return null;
  } catch (error) {
    return isStoreError(error) ? error.message : String(error);
  }
}
