/**
 * The first view: whether anything is wrong, how much there is, the last hour, the store.
 *
 * @module
 */

import type { ComponentChildren, JSX } from "preact";
import type { ServerStatus, Usage } from "../../../core/operations.ts";
import { bytes, number, since } from "../format.ts";
import { type Loaded, useLive, useLoad, useTicks } from "../hooks.ts";
import { hrefOf } from "../route.ts";
import { useServerNow, useSession } from "../data/session.ts";
import { filled } from "../ui/listing.tsx";
import { Badge, Reading, ViewHead, When } from "../ui/pieces.tsx";
import { Changes } from "./changes.tsx";
import { Charts } from "./charts.tsx";
import { ClusterView } from "./cluster.tsx";

/** How often the server and the charts are read anew, milliseconds. */
const STATUS_MS = 10_000;
const HISTORY_MS = 15_000;
const USAGE_MS = 60_000;

/** The view. */
export function Overview(): JSX.Element {
  const { api, live } = useSession();
  const { invites } = useLive(live);
  const now = useServerNow(5_000);
  const status = useLoad((signal) => api.with(signal).status(), "status", useTicks(STATUS_MS));
  const history = useLoad((signal) => api.with(signal).history(), "history", useTicks(HISTORY_MS));
  const usage = useLoad((signal) => api.with(signal).usage(), "usage", useTicks(USAGE_MS));
  const open = useLoad(
    (signal) =>
      filled((part) => api.with(signal).listInvites({ state: "open", ...part }), 1000, null),
    "open",
    invites,
  );
  return (
    <>
      <ViewHead title="Overview" />
      <Reading load={status} what="Loading the server status" />
      {status.data && <State status={status.data} now={now} />}
      <Figures
        usage={usage}
        open={open.data && { count: open.data.items.length, more: open.data.next !== null }}
        now={now}
      />
      <section class="section" aria-labelledby="hour">
        <h2 id="hour">The last hour</h2>
        <Reading load={history} what="Reading the last hour" />
        {history.data && <Charts history={history.data} />}
      </section>
      {status.data && <Kept status={status.data} />}
      <section class="section" aria-labelledby="latest">
        <h2 id="latest">Latest changes</h2>
        <Changes query={{}} size={6} />
      </section>
    </>
  );
}

/** What is wrong, or that nothing is. */
function State({ status, now }: { status: ServerStatus; now: number }): JSX.Element {
  const { cluster, checks, busAuth } = status;
  const wrong = [
    ...checks.filter((it) => !it.ok || it.degraded).map((it) => `${it.name}: ${it.detail}`),
    ...cluster?.problems ?? [],
  ];
  const isWell = status.ok && wrong.length === 0;
  return (
    <section class={isWell ? "state good" : "state bad"} aria-labelledby="state">
      <div role="status">
        <h2 id="state">
          <span class="dot" aria-hidden="true" />
          {isWell ? "All is well" : wrong.length === 1 ? "1 problem" : `${wrong.length} problems`}
        </h2>
        {wrong.length > 0 && (
          <ul>
            {wrong.map((it) => <li key={it}>{it}</li>)}
          </ul>
        )}
      </div>
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
        membershipd {status.version}, started{" "}
        <When time={status.startedAt} now={now} />, signatures: {busAuth}
      </p>
      <details>
        <summary>Health checks</summary>
        <ul class="checks">
          {checks.map((it) => (
            <li key={it.name}>
              {it.ok ? <Badge look="good">ok</Badge> : <Badge look="bad">failed</Badge>}{" "}
              <b>{it.name}</b> <span class="muted">{it.detail}</span>
            </li>
          ))}
        </ul>
      </details>
    </section>
  );
}

function Figures(
  { usage, open, now }: {
    usage: Loaded<Usage>;
    open: { count: number; more: boolean } | null;
    now: number;
  },
): JSX.Element {
  const blobs = usage.data?.blobs;
  return (
    <dl class="figures">
      <Figure
        name="Open invites"
        href={hrefOf("invites")}
        value={open === null ? "…" : number(open.count) + (open.more ? " or more" : "")}
      />
      <Figure
        name="Blobs"
        value={usage.data === null
          ? usage.failure === null ? "…" : "unknown"
          : blobs == null
          ? "not stored here"
          : bytes(blobs.bytes)}
      >
        {blobs != null &&
          `${number(blobs.count)} ${blobs.count === 1 ? "blob" : "blobs"}, counted ${
            since(blobs.at, now)
          }`}
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
        <span class="figure-value">{value}</span>
        {children && <span class="muted small">{children}</span>}
      </dd>
    </div>
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
            One SQLite file on this machine. When it has to survive the loss of the machine, move it
            to three servers: <code>membershipd migrate-to-kv</code>.
          </p>
        )
        : <p>NATS JetStream; this server has no information about its nodes.</p>}
      {follower && (
        <p>
          Follower: {follower.exact ? "" : "not "}exact at {follower.position}, lag {follower.lag}
        </p>
      )}
    </section>
  );
}
