/**
 * The last hour: requests, denials, latency.
 *
 * @module
 */

import type { JSX } from "preact";
import type { History } from "../../../core/operations.ts";
import { clock, counted, millis, moment, number } from "../../shared/format.ts";
import { Chart } from "../ui/chart.tsx";

const count = (value: number): string => number(Math.round(value * 10) / 10);

const latency = (ms: number | null): string => ms === null ? "–" : millis(ms);

const COLUMNS: readonly (readonly [string, (it: History["buckets"][number]) => string])[] = [
  ["Requests", (it) => number(it.requests)],
  ["Denied", (it) => number(it.denied)],
  ["Failed", (it) => number(it.failed)],
  ["p50", (it) => latency(it.p50)],
  ["p95", (it) => latency(it.p95)],
  ["p99", (it) => latency(it.p99)],
];

/** Three charts, and all their values as a table. */
export function Charts({ history }: { history: History }): JSX.Element {
  const { buckets, seconds } = history;
  const times = buckets.map((it) => Date.parse(it.at));
  const shared = { times, span: seconds * 1000, now: Date.parse(history.now) };
  const sum = (values: number[]): number => values.reduce((a, b) => a + b, 0);
  const requests = sum(buckets.map((it) => it.requests));
  const denied = sum(buckets.map((it) => it.denied));
  const failed = sum(buckets.map((it) => it.failed));
  const most = (share: "p50" | "p95" | "p99"): string =>
    millis(Math.max(0, ...buckets.map((it) => it[share] ?? 0)));
  const each = `per ${seconds} s`;
  return (
    <>
      <div class="charts">
        <Chart
          {...shared}
          title={`Requests ${each}`}
          summary={`Requests in the last hour: ${counted(requests, "request")}, ${
            number(failed)
          } of them failed in the server. ${busiest(history)}`}
          kind="bars"
          format={count}
          series={[
            { name: "answered", look: "accent", values: buckets.map((it) => it.requests) },
            { name: "failed", look: "bad", values: buckets.map((it) => it.failed) },
          ]}
        />
        <Chart
          {...shared}
          title={`Denials ${each}`}
          summary={`Denied in the last hour, for their signature or permissions: ${number(denied)}`}
          kind="bars"
          format={count}
          series={[{ name: "denied", look: "warn", values: buckets.map((it) => it.denied) }]}
        />
        <Chart
          {...shared}
          title="Latency"
          summary={`Latency in the last hour, highest value in ${seconds} seconds: p50 ${
            most("p50")
          }, p95 ${most("p95")}, p99 ${most("p99")}`}
          kind="lines"
          format={millis}
          series={[
            { name: "p50", look: "accent", values: buckets.map((it) => it.p50) },
            { name: "p95", look: "warn", values: buckets.map((it) => it.p95) },
            { name: "p99", look: "soft", values: buckets.map((it) => it.p99) },
          ]}
        />
      </div>
      <details class="chart-table">
        <summary>The last hour as a table</summary>
        <div class="scroll" role="region" aria-label="The last hour as a table" tabIndex={0}>
          <table class="plain-table">
            <thead>
              <tr>
                <th scope="col">From</th>
                {COLUMNS.map(([head]) => <th key={head} scope="col">{head}</th>)}
              </tr>
            </thead>
            <tbody>
              {buckets.toReversed().map((it) => (
                <tr key={it.at}>
                  <th scope="row">{moment(it.at)}</th>
                  {COLUMNS.map(([head, cell]) => <td key={head}>{cell(it)}</td>)}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </details>
    </>
  );
}

function busiest({ buckets, seconds }: History): string {
  const most = buckets.reduce((a, b) => b.requests > a.requests ? b : a, buckets[0]!);
  if (most === undefined || most.requests === 0) return "";
  return `Maximum in ${seconds} seconds: ${number(most.requests)} at ${clock(most.at)}.`;
}
