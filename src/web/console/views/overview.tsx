/**
 * The first view: whether anything is wrong, how much there is, the store, the last hour.
 *
 * @module
 */

import type { ComponentChildren, JSX } from "preact";
import type { HistoryAction } from "../../../core/history/entry.ts";
import type { Journey, PlaneCounts, ServerStatus, Usage } from "../../../core/operations.ts";
import { type Graded, gradeOf } from "../data/grade.ts";
import { useKept, useServerNow, useSession } from "../data/session.ts";
import { Button, download } from "../../shared/page.tsx";
import { bytes, counted, date, number, since } from "../format.ts";
import { type Loaded, useLive, useLoad, useTask, useThrottled, useTicks } from "../hooks.ts";
import { hrefOf } from "../route.ts";
import { Badge, Reading, Trouble, ViewHead, When } from "../ui/pieces.tsx";
import { Changes } from "./changes.tsx";
import { Charts } from "./charts.tsx";
import { ClusterView } from "./cluster.tsx";

/** How often things are read again, milliseconds: a cluster changes by itself, a file does not. */
const STATUS_MS = { cluster: 3_000, file: 10_000 };
const HISTORY_MS = 15_000;
const COUNTS_MS = 10_000;
const USAGE_MS = 60_000;
/** How long a change may wait until it is counted, milliseconds. */
const COUNT_AFTER_MS = 3_000;

/** The view. */
export function Overview(): JSX.Element {
  const { api, live } = useSession();
  const { log } = useLive(live);
  const now = useServerNow(5_000);
  const [isCluster, setCluster] = useKept("cluster", false);
  const status = useLoad(
    async (signal) => {
      const found = await api.with(signal).status();
      setCluster(found.cluster !== null);
      return found;
    },
    "status",
    useTicks(STATUS_MS[isCluster ? "cluster" : "file"]),
  );
  const history = useLoad((signal) => api.with(signal).history(), "history", useTicks(HISTORY_MS));
  const usage = useLoad((signal) => api.with(signal).usage(), "usage", useTicks(USAGE_MS));
  const counts = useLoad(
    (signal) => api.with(signal).counts(),
    "counts",
    useTicks(COUNTS_MS) + useThrottled(log, COUNT_AFTER_MS),
  );
  const graded = gradeOf(status.data, status.failure);
  return (
    <>
      <ViewHead title="Overview" />
      {graded === null
        ? <Reading load={status} what="Loading the server status" />
        : <State graded={graded} status={status.data} now={now} />}
      <Figures counts={counts} usage={usage} now={now} />
      {status.data && <Kept status={status.data} />}
      <section class="section" aria-labelledby="hour">
        <h2 id="hour">Requests and latency</h2>
        <Reading load={history} what="Loading the requests" />
        {history.data && <Charts history={history.data} />}
      </section>
      <section class="section" aria-labelledby="latest">
        <h2 id="latest">Latest changes</h2>
        <Changes query={{}} size={6} />
      </section>
    </>
  );
}

const LOOKS = { well: "good", degraded: "warn", down: "bad" } as const;

/** What is wrong, or that nothing is. */
function State(
  { graded: { grade, meaning, problems }, status, now }: {
    graded: Graded;
    status: ServerStatus | null;
    now: number;
  },
): JSX.Element {
  const title = grade === "well"
    ? "All is well"
    : `${grade === "down" ? "Down" : "Degraded"}: ${counted(problems.length, "problem")}`;
  return (
    <section class={`state ${LOOKS[grade]}`} aria-labelledby="state">
      <div role="status">
        <h2 id="state">
          <span class="dot" aria-hidden="true" />
          {title}
        </h2>
        {grade !== "well" && <p class="meaning">{meaning}</p>}
        {problems.length > 0 && (
          <ul>
            {problems.map(({ text, help }) => (
              <li key={text}>
                {text}
                {help !== null && <span class="problem-help">{help}</span>}
              </li>
            ))}
          </ul>
        )}
      </div>
      {status && <Server status={status} now={now} />}
    </section>
  );
}

function Server({ status, now }: { status: ServerStatus; now: number }): JSX.Element {
  const { busAuth, checks, version, startedAt } = status;
  return (
    <>
      {busAuth !== "enforce" && (
        <p class="notice warn">
          {busAuth === "off"
            ? "Authentication is off: anyone who can reach this server can do anything."
            : "Signatures are checked but not enforced: requests that would be refused are only logged."}
          {" "}
          Start it with <code>--bus-auth enforce</code>.
        </p>
      )}
      <p class="muted small">
        membershipd {version}, started <When time={startedAt} now={now} />, signatures: {busAuth}
      </p>
      <details>
        <summary>Health checks</summary>
        <ul class="checks">
          {checks.map((it) => (
            <li key={it.name}>
              {!it.ok
                ? <Badge look="bad">failed</Badge>
                : it.degraded
                ? <Badge look="warn">degraded</Badge>
                : <Badge look="good">ok</Badge>} <b>{it.name}</b>{" "}
              <span class="muted">{it.detail}</span>
            </li>
          ))}
        </ul>
      </details>
    </>
  );
}

/** The actions that are counted by name, with their words. */
const NAMED: readonly (readonly [HistoryAction, string])[] = [
  ["invite.claimed", "joined"],
  ["user.revoked", "revoked"],
  ["invite.created", "invited"],
  ["room.rekeyed", "rekeyed"],
];

function Figures(
  { counts: { data, failure }, usage, now }: {
    counts: Loaded<PlaneCounts>;
    usage: Loaded<Usage>;
    now: number;
  },
): JSX.Element {
  const blobs = usage.data?.blobs;
  /** A value that is not there yet, or cannot be counted. */
  const or = (value: string | undefined, isRead = data !== null, failed = failure !== null) =>
    value ?? (isRead || failed ? "unknown" : "…");
  const { users = null, rooms = null, invites = null, connections = null, day = null } = data ?? {};
  return (
    <dl class="figures">
      <Figure
        name="Users"
        href={hrefOf("users")}
        value={or(users ? number(users.total) : undefined)}
      >
        {users &&
          `${counted(users.admins, "admin")}${
            users.revoked > 0 ? `, ${number(users.revoked)} revoked` : ""
          }`}
      </Figure>
      <Figure
        name="Rooms"
        href={hrefOf("rooms")}
        value={or(rooms === null ? undefined : number(rooms))}
      />
      <Figure
        name="Open invites"
        href={hrefOf("invites")}
        value={or(invites ? number(invites.open) + (invites.more ? " or more" : "") : undefined)}
      />
      <Figure
        name="Connections"
        value={or(connections ? number(connections.open) : undefined)}
      >
        {connections ? `of ${counted(connections.users, "user")}` : data && "not available here"}
      </Figure>
      <Figure
        name="Changes in 24 h"
        href={hrefOf("log")}
        value={or(day ? number(day.changes) + (day.more ? " or more" : "") : undefined)}
      >
        {day && NAMED.flatMap(([action, word]) => {
          const times = day.actions[action] ?? 0;
          return times === 0 ? [] : [`${number(times)} ${word}`];
        }).join(", ")}
      </Figure>
      <Figure
        name="Blobs"
        value={blobs === null
          ? "off"
          : or(blobs && bytes(blobs.bytes), usage.data !== null, usage.failure !== null)}
      >
        {blobs === null
          ? "not stored by this server"
          : blobs && `${counted(blobs.count, "blob")}, counted ${since(blobs.at, now)}`}
      </Figure>
    </dl>
  );
}

function Figure(
  { name, value, href, children }: {
    name: string;
    value: string;
    href?: string;
    children?: ComponentChildren;
  },
): JSX.Element {
  return (
    <div class="figure">
      <dt>{href === undefined ? name : <a href={href}>{name}</a>}</dt>
      <dd>
        <span class={/\d/.test(value) ? "figure-value" : "figure-value muted"}>{value}</span>
        {children && <span class="muted small figure-note">{children}</span>}
      </dd>
    </div>
  );
}

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

function Kept({ status }: { status: ServerStatus }): JSX.Element {
  const { follower } = status;
  return (
    <section class="panel" aria-labelledby="kept">
      <h2 id="kept">{status.cluster === null ? "Store" : "Cluster"}</h2>
      {status.cluster !== null
        ? <ClusterView cluster={status.cluster} />
        : status.backend === "sqlite"
        ? (
          <p>
            One SQLite file on this machine. To survive the loss of the machine, move it to three
            servers while it serves: <code>membershipd grow</code>.
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
