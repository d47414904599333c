/**
 * Charts of the last hour or less: small SVG that stretches, with its words in HTML around it.
 *
 * @module
 */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { clock, moment } from "../../shared/format.ts";

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

/** How long a chart can be, milliseconds: the shortest that holds everything is chosen. */
const LENGTHS = [5, 15, 30, 60].map((minutes) => minutes * 60_000);
const WIDTH = 720;
const HEIGHT = 120;
/** Up to so many values, each is drawn as a point; above it only those without neighbours. */
const POINTS = 30;

/** A chart. For screen readers it is its summary; the values are in the table beside the charts. */
export function Chart(props: ChartProps): JSX.Element {
  const { title, summary, times, span, now, series, kind, format } = props;
  const [at, look] = useState<number | null>(null);
  const top = ceiling(
    Math.max(kind === "bars" ? 4 : 0, ...series.flatMap((it) => it.values.map((v) => v ?? 0))),
  );
  const length = lengthOf(now - (times[0] ?? now));
  const start = now - length;
  const x = (time: number): number => (time - start) / length * WIDTH;
  const y = (value: number): number => HEIGHT - value / top * (HEIGHT - 2);
  const hover = (event: PointerEvent): void => {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    const time = start + (event.clientX - box.left) / box.width * length;
    const index = times.findIndex((it) => time >= it && time < it + span);
    look(index < 0 ? null : index);
  };
  const shown = at !== null && at < times.length ? at : null;
  const plot = { times, span, x, y };
  // The first of the legend on top.
  const drawn = kind === "lines" ? series.toReversed() : series;
  return (
    <figure class="chart">
      <figcaption class="chart-head">
        <h3 class="chart-title">{title}</h3>
        <ul class="legend" aria-hidden="true">
          {series.map((it) => (
            <li key={it.name} class={it.look}>
              {it.name}
              <Value
                value={shown === null ? it.values.findLast((v) => v !== null) : it.values[shown]}
                format={format}
              />
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
              width={span / length * WIDTH}
              height={HEIGHT}
            />
          )}
          {drawn.map((it) => (
            <path
              key={it.name}
              class={`${kind} ${it.look}`}
              d={(kind === "bars" ? barsOf : linesOf)(it.values, plot)}
            />
          ))}
          {kind === "lines" && drawn.map((it) => (
            <path
              key={it.name}
              class={`points ${it.look}`}
              d={pointsOf(it.values, plot, shown)}
            />
          ))}
        </svg>
        <div class="chart-x" aria-hidden="true">
          {shown === null
            ? (
              <>
                <span>{clock(start)}</span>
                <span>{clock(now - length / 2)}</span>
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

function linesOf(values: (number | null)[], plot: Plot): string {
  return values.map((value, i) => {
    if (value === null) return "";
    return `${joins(values, i, plot) ? "L" : "M"}${placeOf(value, i, plot)}`;
  }).join("");
}

/** Points: strokes of no length with round ends, which stay round however the chart is stretched. */
function pointsOf(values: (number | null)[], plot: Plot, shown: number | null): string {
  const all = values.filter((it) => it !== null).length <= POINTS;
  return values.map((value, i) => {
    if (value === null) return "";
    const isAlone = !joins(values, i, plot) && !joins(values, i + 1, plot);
    return all || isAlone || i === shown ? `M${placeOf(value, i, plot)}h0` : "";
  }).join("");
}

/** Whether a value is joined to the one before it. */
function joins(values: (number | null)[], i: number, { times, span }: Plot): boolean {
  if (i === 0 || i >= values.length || values[i] === null || values[i - 1] === null) return false;
  return times[i]! - times[i - 1]! <= span * 1.5;
}

function placeOf(value: number, i: number, { times, span, x, y }: Plot): string {
  const middle = Math.min(WIDTH - 3, Math.max(3, x(times[i]! + span / 2)));
  return `${near(middle)} ${near(y(value))}`;
}

function Value(
  { value, format }: { value: number | null | undefined; format: ChartProps["format"] },
): JSX.Element | null {
  return value == null ? null : <b>{format(value)}</b>;
}

/** How long a chart is whose values began so many milliseconds ago. */
export function lengthOf(age: number): number {
  return LENGTHS.find((it) => age <= it) ?? LENGTHS.at(-1)!;
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
