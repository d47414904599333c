/**
 * Where the control plane is stored.
 *
 * @module
 */

import type { JSX } from "preact";
import type { Journey, ServerStatus } from "../../../core/operations.ts";
import { Button, download } from "../../shared/ui/page.tsx";
import { useSession } from "../data/session.ts";
import { date, number } from "../../shared/format.ts";
import { useTask } from "../hooks.ts";
import { Badge } from "../ui/pieces.tsx";
import { Trouble } from "../ui/trouble.tsx";
import { ClusterView } from "./cluster.tsx";

/** Downloads all records as one file. */
function Snapshot(): JSX.Element {
  const { api } = useSession();
  const task = useTask();
  const save = async (): Promise<void> => {
    const content = await new Response(await api.snapshot()).blob();
    download(`unibus-${date(Date.now())}.ndjson`, content);
  };
  return (
    <div class="snapshot">
      <Button busy={task.busy} onClick={() => task.run(save)}>Download snapshot</Button>
      <p class="muted small">
        All users, invites, rooms, sealed keys and the history in one file, without blobs. Restore
        it with <code>membershipd snapshot import</code>.
      </p>
      {task.failure && <Trouble failure={task.failure} />}
    </div>
  );
}

/** How far a move of the control plane is that has not ended. */
function Move({ journey }: { journey: Journey }): JSX.Element | null {
  const { direction, state, phase, done, total, reason } = journey;
  if (state === "done" || state === "called-off") return null;
  return (
    <p role="status">
      <Badge look={state === "running" ? "accent" : "warn"}>{state}</Badge> Move{" "}
      {direction === "grow" ? "into the cluster" : "into the file of this server"}
      {phase !== null && `: ${phase}, ${number(done)}${total ? ` of ${number(total)}` : ""}`}
      {reason !== null && `. ${reason}`}
    </p>
  );
}

/** The cluster or the file, a move between them, and a snapshot; `isOld`: it could not be read again. */
export function Stored(
  { status, isOld }: { status: ServerStatus; isOld: boolean },
): JSX.Element {
  const { follower } = status;
  return (
    <section class={isOld ? "panel old" : "panel"} aria-labelledby="stored">
      <h2 id="stored">{status.cluster === null ? "Store" : "Cluster"}</h2>
      {isOld && <p class="muted">As the server last reported it.</p>}
      {status.cluster !== null
        ? <ClusterView cluster={status.cluster} />
        : status.backend === "sqlite"
        ? (
          <p>
            One SQLite file on this machine. To survive the loss of the machine, move it to three
            servers while it serves: <code>membershipd cluster plan</code>.
          </p>
        )
        : <p>NATS JetStream; this server has no information about its nodes.</p>}
      {follower && (
        <p>
          The second copy on this server is {follower.exact ? "exact" : "not exact yet"} at position
          {" "}
          {number(follower.position)}, {number(follower.lag ?? 0)} behind.
        </p>
      )}
      {status.journey && <Move journey={status.journey} />}
      <Snapshot />
    </section>
  );
}
