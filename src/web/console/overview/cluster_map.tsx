/**
 * The picture of a cluster: its nodes on the bus, what each holds, and how far behind it is. It is drawn
 * in pixels of the page, so that its words are as large as the page's.
 *
 * @module
 */

import type { JSX } from "preact";
import type { BucketStatus, ClusterNode, ClusterStatus } from "../../../core/operations.ts";
import { number } from "../../shared/format.ts";
import { useWidth } from "../hooks.ts";
import type { Look } from "../ui/pieces.tsx";

/** Pixels: the narrowest and the widest node, between nodes, above them, a line, around the lines. */
const NODE = { least: 208, most: 340, gap: 16, drop: 26, line: 21, pad: 14 };
/** Pixels of a character of the small text, about. */
const CHARACTER = 6.6;
/** How many characters of a name there are for one of the small text, about. */
const NAME = 0.65;

/** A line of a node. */
interface Line {
  tone: Look;
  name: string;
  value: string;
}

/** The picture. Screen readers get one sentence a node; the tables have the rest. */
export function ClusterMap({ cluster }: { cluster: ClusterStatus }): JSX.Element {
  const [ref, width] = useWidth<HTMLDivElement>();
  const { nodes, buckets } = cluster;
  const all = nodes.map((node) => ({ node, lines: linesOf(node, buckets) }));
  const most = Math.max(1, ...all.map((it) => it.lines.length));
  const columns = Math.max(
    1,
    Math.min(nodes.length, Math.floor((width + NODE.gap) / (NODE.least + NODE.gap))),
  );
  const each = Math.min(NODE.most, (width - NODE.gap * (columns - 1)) / columns);
  const box = NODE.pad * 2 + NODE.line * (most + 3) + 4;
  const row = NODE.drop + box + NODE.gap;
  const rows = Math.ceil(nodes.length / columns);
  const summary = all.map(({ node, lines }) =>
    `${node.name}${node.leads ? ", leader" : ""}: ${
      node.reachable ? lines.map((it) => `${it.name} ${it.value}`).join(", ") : "not reachable"
    }`
  ).join(". ");
  return (
    <div class="map" ref={ref}>
      {width > 0 && (
        <svg
          role="img"
          aria-label={`The nodes. ${summary}`}
          width={width}
          height={rows * row - NODE.gap + 1}
        >
          {Array.from({ length: rows }, (_, i) => (
            <path
              key={i}
              class="map-bus"
              d={`M0 ${i * row + 3}H${
                Math.min(columns, nodes.length - i * columns) * (each + NODE.gap) - NODE.gap
              }`}
            />
          ))}
          {all.map(({ node, lines }, i) => (
            <g
              key={node.name}
              class={`map-node ${toneOf(node)}`}
              transform={`translate(${(i % columns) * (each + NODE.gap)} ${
                Math.floor(i / columns) * row
              })`}
            >
              <Node node={node} lines={lines} width={each} height={box} />
            </g>
          ))}
        </svg>
      )}
    </div>
  );
}

function Node(
  { node, lines, width, height }: {
    node: ClusterNode;
    lines: readonly Line[];
    width: number;
    height: number;
  },
): JSX.Element {
  const { name, leads, reachable, version, program } = node;
  const left = NODE.pad;
  const right = width - NODE.pad;
  const room = Math.floor((right - left) / CHARACTER);
  const role = reachable ? leads ? "leader" : "" : "not reachable";
  const at = (line: number): number => NODE.drop + NODE.pad + NODE.line * line + 14;
  return (
    <>
      <path class="map-link" d={`M${width / 2} 3V${NODE.drop}`} />
      <circle class="map-plug" cx={width / 2} cy="3" r="3" />
      <rect class="map-box" x="0.5" y={NODE.drop} width={width - 1} height={height} rx="10" />
      <circle class="map-dot" cx={left + 5} cy={at(0) - 5} r="5" />
      <text class="map-name" x={left + 17} y={at(0)}>
        {short(name, Math.floor((room - role.length - 3) * NAME))}
      </text>
      <text class="map-role" x={right} y={at(0)}>{role}</text>
      {[["membershipd", program], ["nats-server", version]].map(([runs, found], i) => (
        <g key={runs}>
          <text class="map-small" x={left} y={at(i + 1)}>{runs}</text>
          <text class="map-value" x={right} y={at(i + 1)}>{found ?? "unknown"}</text>
        </g>
      ))}
      {lines.map((it, i) => (
        <g key={it.name} class={it.tone}>
          <rect
            class="map-copy"
            x={left}
            y={at(i + 3) - 10}
            width="10"
            height="10"
            rx={it.name === FOLLOWER ? 5 : 2}
          />
          <text class="map-small" x={left + 17} y={at(i + 3)}>{it.name}</text>
          <text class="map-value" x={right} y={at(i + 3)}>{it.value}</text>
        </g>
      ))}
    </>
  );
}

const FOLLOWER = "second copy";

function toneOf({ reachable, current, leads, follower }: ClusterNode): Look {
  if (!reachable || (follower?.alarm ?? null) !== null) return "bad";
  if (current === false || (follower?.degraded ?? null) !== null) return "warn";
  return leads ? "accent" : "good";
}

/** What a node holds. */
export function linesOf(
  { name, reachable, follower }: ClusterNode,
  buckets: readonly BucketStatus[],
): Line[] {
  const lines = buckets.flatMap(({ holds, copies }): Line[] => {
    const copy = copies.find((it) => it.node === name);
    if (copy === undefined) return [];
    if (!reachable || !copy.reachable) return [{ tone: "bad", name: holds, value: "missing" }];
    const tone = copy.current ? "good" : "warn";
    const value = copy.lag > 0
      ? `${number(copy.lag)} behind`
      : !copy.current
      ? "catching up"
      : copy.leads
      ? "leader"
      : "current";
    return [{ tone, name: holds, value }];
  });
  return follower == null ? lines : [...lines, { name: FOLLOWER, ...secondCopy(follower) }];
}

function secondCopy(
  { alarm, degraded, exact, lag }: NonNullable<ClusterNode["follower"]>,
): Omit<Line, "name"> {
  if (alarm !== null) return { tone: "bad", value: "alarm" };
  if (degraded !== null) return { tone: "warn", value: "degraded" };
  const tone = exact ? "good" : "warn";
  if ((lag ?? 0) > 0) return { tone, value: `${number(lag!)} behind` };
  return { tone, value: exact ? "exact" : "not exact yet" };
}

function short(text: string, room: number): string {
  return text.length <= room ? text : `${text.slice(0, Math.max(1, room - 1))}…`;
}
