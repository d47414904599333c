/**
 * The cluster: nodes, copies, who leads, how far behind.
 *
 * @module
 */

import type { JSX } from "preact";
import type {
  BucketCopy,
  BucketStatus,
  ClusterNode,
  ClusterStatus,
} from "../../../core/operations.ts";
import { bytes, counted, number } from "../../shared/format.ts";
import { ClusterMap } from "./cluster_map.tsx";
import { Badge, Empty } from "../ui/pieces.tsx";
import { type Column, Table } from "../ui/table.tsx";

/** Nodes and buckets. */
export function ClusterView({ cluster }: { cluster: ClusterStatus }): JSX.Element {
  const { quorum, nodes, buckets } = cluster;
  return (
    <>
      <p>
        {cluster.cluster === null ? "A NATS server that is not in a cluster." : (
          <>
            Cluster <code>{cluster.cluster}</code>.
          </>
        )} {quorum !== null && (
          <>
            {quorum.ok ? <Badge look="good">quorum</Badge> : <Badge look="bad">no quorum</Badge>}
            {" "}
            {number(quorum.reachable)} of {counted(quorum.size, "node")} reachable,{" "}
            {number(quorum.needed)} needed.
          </>
        )}
      </p>
      {nodes.length === 0
        ? <Empty>This server has no information about the nodes.</Empty>
        : <ClusterMap cluster={cluster} />}
      <details>
        <summary>Nodes and copies as tables</summary>
        {nodes.length > 0 && (
          <Table
            caption="Nodes"
            columns={NODE_COLUMNS}
            rows={nodes}
            id={(it) => it.name}
          />
        )}
        {buckets.map((it) => <BucketView key={it.bucket} it={it} />)}
      </details>
    </>
  );
}

/** How a node does, or a copy on one. */
type Health = Pick<ClusterNode, "current" | "reachable" | "leads">;

function columnsOf<T extends Health>(head: string, name: (it: T) => string): Column<T>[] {
  return [
    { head, cell: (it) => <>{name(it)} {it.leads && <Badge look="accent">leader</Badge>}</> },
    {
      head: "Reachable",
      cell: (it) => it.reachable ? <Badge look="good">yes</Badge> : <Badge look="bad">no</Badge>,
    },
    { head: "Current", cell: (it) => <Current {...it} /> },
  ];
}

const NODE_COLUMNS: Column<ClusterNode>[] = [
  ...columnsOf<ClusterNode>("Node", (it) => it.name),
  {
    head: "Fsync",
    cell: (it) =>
      it.syncs === null
        ? "unknown"
        : it.syncs
        ? "before each acknowledgement"
        : <Badge look="warn">later</Badge>,
  },
  { head: "nats-server", cell: (it) => it.version ?? "unknown" },
  { head: "membershipd", cell: (it) => it.program ?? "unknown" },
  {
    head: "Second copy",
    cell: ({ follower }) =>
      follower == null
        ? "none"
        : `at ${number(follower.position)}, lag ${follower.lag ?? "unknown"}`,
  },
];

function Current({ current, reachable }: Health): JSX.Element {
  if (current === null) return <>unknown</>;
  if (!current) return <Badge look="warn">no</Badge>;
  // A node that is gone is told as it last was.
  return reachable ? <Badge look="good">yes</Badge> : <span class="muted">as last reported</span>;
}

const COPY_COLUMNS: Column<BucketCopy>[] = [
  ...columnsOf<BucketCopy>("Copy on", (it) => it.node),
  { head: "Lag", number: true, cell: (it) => it.lag === 0 ? "0" : counted(it.lag, "message") },
];

function BucketView({ it }: { it: BucketStatus }): JSX.Element {
  return (
    <section class="bucket" aria-label={`Bucket ${it.bucket}`}>
      <h3>
        <code>{it.bucket}</code> {it.holds}{" "}
        {it.whole ? <Badge look="good">up to date</Badge> : <Badge look="warn">degraded</Badge>}
      </h3>
      <p class="muted">
        {it.replicas === null ? "Copies unknown" : counted(it.replicas, "copy", "copies")}
        {it.messages !== null && `, ${counted(it.messages, "message")}`}
        {it.bytes !== null && `, ${bytes(it.bytes)}`}
      </p>
      {it.copies.length > 0 && (
        <Table
          caption={`Copies of ${it.bucket}`}
          columns={COPY_COLUMNS}
          rows={it.copies}
          id={(copy) => copy.node}
        />
      )}
    </section>
  );
}
