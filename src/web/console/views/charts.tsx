/**
 * The last hour: requests, denials, latency.
 *
 * @module
 */

import type { JSX } from "preact";
import type { History } from "../../../core/operations.ts";
import { clock, counted, millis, moment, number } from "../format.ts";
import { Chart } from "../ui/chart.tsx";

const count = (value: number): string => number(Math.round(value * 10) / 10);

/** Three charts, and all their values as a table. */
export function Charts({ history }: { history: History }): JSX.Element {
  const { buckets, seconds } = history;
  const times = buckets.map((it) => Date.parse(it.at));
  const shared = { times, span: seconds * 1000, now: Date.parse(history.now) };
  const sum = (values: number[]): number => values.reduce((a, b) => a + b, 0);
  const requests = sum(buckets.map((it) => it.requests));
  const denied = sum(buckets.map((it) => it.denied));
  const failed = sum(buckets.map((it) => it.failed));
  const slowest = Math.max(0, ...buckets.map((it) => it.p95 ?? 0));
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
          series={[{
            name: "refused",
            look: "warn",
            values: buckets.map((it) => it.denied),
          }]}
        />
        <Chart
          {...shared}
          title="Latency"
          summary={`Latency in the last hour: 95 of 100 requests took at most ${millis(slowest)}`}
          kind="lines"
          format={millis}
          series={[
            { name: "p99", look: "soft", values: buckets.map((it) => it.p99) },
            { name: "p95", look: "warn", values: buckets.map((it) => it.p95) },
            { name: "p50", look: "accent", values: buckets.map((it) => it.p50) },
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
                <th scope="col">Requests</th>
                <th scope="col">Denied</th>
                <th scope="col">Failed</th>
                <th scope="col">p50</th>
                <th scope="col">p95</th>
                <th scope="col">p99</th>
              </tr>
            </thead>
            <tbody>
              {buckets.toReversed().map((it) => (
                <tr key={it.at}>
                  <th scope="row">{moment(it.at)}</th>
                  <td>{number(it.requests)}</td>
                  <td>{number(it.denied)}</td>
                  <td>{number(it.failed)}</td>
                  {[it.p50, it.p95, it.p99].map((ms, i) => (
                    <td key={i}>{ms === null ? "–" : millis(ms)}</td>
                  ))}
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
