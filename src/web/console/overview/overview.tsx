/**
 * The first view: whether anything is wrong, how much there is, the store, the last hour.
 *
 * @module
 */

import type { JSX } from "preact";
import { gradeOf } from "../data/grade.ts";
import { useKept, useServerNow, useSession } from "../data/session.ts";
import { useLive, useLoad, useThrottled, useTicks } from "../hooks.ts";
import { ViewHead } from "../ui/pieces.tsx";
import { Reading } from "../ui/trouble.tsx";
import { Changes } from "../views/changes.tsx";
import { Charts } from "./charts.tsx";
import { Figures } from "./figures.tsx";
import { State } from "./state.tsx";
import { Stored } from "./store.tsx";

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
  const { log, connection } = useLive(live);
  // What failed is read again at once when the connection is back.
  const isLost = Number(connection === "lost");
  const now = useServerNow(5_000);
  const [isCluster, setCluster] = useKept("cluster", false);
  const status = useLoad(
    async (signal) => {
      const found = await api.with(signal).status();
      setCluster(found.cluster !== null);
      return found;
    },
    "status",
    useTicks(STATUS_MS[isCluster ? "cluster" : "file"]) + isLost,
  );
  const history = useLoad(
    (signal) => api.with(signal).history(),
    "history",
    useTicks(HISTORY_MS) + isLost,
  );
  const usage = useLoad((signal) => api.with(signal).usage(), "usage", useTicks(USAGE_MS) + isLost);
  const counts = useLoad(
    (signal) => api.with(signal).counts(),
    "counts",
    useTicks(COUNTS_MS) + useThrottled(log, COUNT_AFTER_MS) + isLost,
  );
  const graded = gradeOf(status.data, status.failure);
  return (
    <>
      <ViewHead title="Overview" />
      {graded === null
        ? <Reading load={status} what="Loading the server status" />
        : <State graded={graded} status={status.data} now={now} />}
      <Figures counts={counts} usage={usage} now={now} />
      {status.data && <Stored status={status.data} isOld={status.failure !== null} />}
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
