/**
 * Charts of the last hour: small SVG that stretches, with its words in HTML around it.
 *
 * @module
 */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { clock, moment } from "../format.ts";

/** A row of values over time. */
export interface Series {
  /** What it is called in the legend. */
  name: string;
  /** Which look of the style sheet it has. */
  look: "accent" | "warn" | "bad" | "soft";
  /** A value for each span; null where there is none. */
  values: (number | null)[];
}

/** What {@link Chart} takes. */
export interface ChartProps {
  title: string;
  /** One sentence that says what there is to see. */
  summary: string;
  /** When each span begins, milliseconds. */
  times: number[];
  /** How long a span is, milliseconds. */
  span: number;
  /** The end of the chart, milliseconds. */
  now: number;
  series: Series[];
  /** Bars from the ground, or lines. */
  kind: "bars" | "lines";
  format: (value: number) => string;
}

const HOUR = 3_600_000;
const WIDTH = 720;
const HEIGHT = 120;

/** A chart. For screen readers it is its summary; the values are in the table beside the charts. */
export function Chart(props: ChartProps): JSX.Element {
  const { title, summary, times, span, now, series, kind, format } = props;
  const [at, look] = useState<number | null>(null);
  const top = ceiling(
    Math.max(kind === "bars" ? 4 : 0, ...series.flatMap((it) => it.values.map((v) => v ?? 0))),
  );
  const start = now - HOUR;
  const x = (time: number): number => (time - start) / HOUR * WIDTH;
  const y = (value: number): number => HEIGHT - value / top * (HEIGHT - 2);
  const hover = (event: PointerEvent): void => {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    const time = start + (event.clientX - box.left) / box.width * HOUR;
    const index = times.findIndex((it) => time >= it && time < it + span);
    look(index < 0 ? null : index);
  };
  const shown = at !== null && at < times.length ? at : null;
  return (
    <figure class="chart">
      <figcaption class="chart-head">
        <h3 class="chart-title">{title}</h3>
        <ul class="legend" aria-hidden="true">
          {series.map((it) => (
            <li key={it.name} class={it.look}>
              {it.name}
              {shown === null || it.values[shown] == null
                ? null
                : <b>{format(it.values[shown]!)}</b>}
            </li>
          ))}
        </ul>
      </figcaption>
      <div class="chart-plot">
        <div class="chart-y" aria-hidden="true">
          <span>{format(top)}</span>
          <span>{format(top / 2)}</span>
          <span>{format(0)}</span>
        </div>
        <svg
          role="img"
          aria-label={summary}
          viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
          preserveAspectRatio="none"
          onPointerMove={hover}
          onPointerLeave={() => look(null)}
        >
          <path
            class="grid-line"
            d={`M0 1H${WIDTH}M0 ${HEIGHT / 2}H${WIDTH}M0 ${HEIGHT - 1}H${WIDTH}`}
          />
          {shown === null ? null : (
            <rect
              class="chart-at"
              x={x(times[shown]!)}
              y="0"
              width={span / HOUR * WIDTH}
              height={HEIGHT}
            />
          )}
          {series.map((it) => (
            <path
              key={it.name}
              class={`${kind} ${it.look}`}
              d={(kind === "bars" ? barsOf : linesOf)(it.values, { times, span, x, y })}
            />
          ))}
        </svg>
        <div class="chart-x" aria-hidden="true">
          {shown === null
            ? (
              <>
                <span>{clock(start)}</span>
                <span>{clock(now - HOUR / 2)}</span>
                <span>{clock(now)}</span>
              </>
            )
            : <span class="chart-when">{moment(times[shown]!)}</span>}
        </div>
      </div>
    </figure>
  );
}

/** Where values are drawn. */
interface Plot extends Pick<ChartProps, "times" | "span"> {
  x: (time: number) => number;
  y: (value: number) => number;
}

function barsOf(values: (number | null)[], { times, span, x, y }: Plot): string {
  return values.map((value, i) => {
    if (value === null || value === 0) return "";
    const left = Math.max(0, x(times[i]!));
    const right = Math.min(WIDTH, x(times[i]! + span) - 1);
    // What is there is seen, also beside something much larger.
    const height = Math.max(2, HEIGHT - y(value));
    return right <= left
      ? ""
      : `M${near(left)} ${HEIGHT}v${near(-height)}H${near(right)}V${HEIGHT}z`;
  }).join("");
}

function linesOf(values: (number | null)[], { times, span, x, y }: Plot): string {
  let path = "";
  let last: number | null = null;
  values.forEach((value, i) => {
    if (value === null) return;
    const joins = last !== null && times[i]! - times[last]! <= span * 1.5;
    const middle = Math.min(WIDTH, Math.max(0, x(times[i]! + span / 2)));
    // One that stands alone is a short stroke: a point has no width.
    path += joins
      ? `L${near(middle)} ${near(y(value))}`
      : `M${near(middle - 2)} ${near(y(value))}h4`;
    last = i;
  });
  return path;
}

function near(value: number): number {
  return Math.round(value * 10) / 10;
}

/** The next number above that reads well: 1, 2, 4, 10, 20, … */
export function ceiling(value: number): number {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 10].map((it) => it * power).find((it) => it >= value * 0.9999)!;
}
