/**
 * What a plan of a cluster is made of.
 *
 * @module
 */

import type { Values } from "../../settings/node.ts";

/** A node of a plan. */
export interface PlannedNode {
  /** Its name. */
  readonly name: string;
  /** Its IP address or host name. */
  readonly address: string;
}

/** What a plan was asked for. */
export interface PlanInputs {
  /** The cluster's name. */
  readonly cluster: string;
  /** The nodes; the first is the one that serves now. */
  readonly nodes: readonly PlannedNode[];
  /** The settings of each node, by name. */
  readonly settings: Readonly<Record<string, Values>>;
  /** Whether nodes get certificates for their clients. */
  readonly tls: boolean;
  /** Fingerprint of the service keys. */
  readonly keys: string;
}

/** What a node must have. */
export interface Needs {
  /** Free disk space in bytes. */
  readonly disk: number;
  /** Version of the nats-server of the first node. */
  readonly nats: string;
}

/** A plan, as the first node keeps it. */
export interface Plan extends PlanInputs {
  /** Its ID, which the nodes' files and answers carry. */
  readonly id: string;
  /** When it was made, ISO 8601. */
  readonly createdAt: string;
  /** What each node must have. */
  readonly needs: Needs;
  /** Whether streams that clients made on the first node's nats-server may be left behind. */
  readonly dropStreams: boolean;
}

/** A result of a check. */
export interface PlanFinding {
  /** The check. */
  check: string;
  /** `problem`: nothing is written until it is fixed. */
  level: "warning" | "problem";
  /** What was found and what to do. */
  message: string;
}

/** How far clocks may be apart, in milliseconds: signatures of requests are valid for a minute. */
export const MAX_SKEW_MS = 30_000;
