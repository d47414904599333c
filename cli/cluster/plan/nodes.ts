/**
 * The nodes of a plan as they are named on the command line: `NAME=ADDRESS`.
 *
 * @module
 */

import { UsageError } from "../../terminal/failure.ts";
import * as read from "../../settings/read.ts";
import type { PlannedNode } from "./types.ts";

/** The fewest nodes of which one may be lost. */
const LEAST = 3;
/** The most copies that a bucket can have. */
const MOST = 5;

/**
 * Parses the nodes.
 *
 * @throws {UsageError} A name or an address is invalid or given twice, or the number does not fit
 */
export function nodesOf(texts: readonly string[]): PlannedNode[] {
  const nodes = texts.map(nodeOf);
  for (const key of ["name", "address"] as const) {
    const seen = new Map<string, PlannedNode>();
    for (const node of nodes) {
      const other = seen.get(node[key].toLowerCase());
      if (other !== undefined) {
        throw new UsageError(
          `${other.name}=${other.address} and ${node.name}=${node.address} have the same ${key}; ` +
            "each node is a machine of its own",
        );
      }
      seen.set(node[key].toLowerCase(), node);
    }
  }
  if (nodes.length < LEAST || nodes.length > MOST) {
    throw new UsageError(
      `A cluster has ${LEAST} to ${MOST} nodes, found ${nodes.length}; with three, one may be lost`,
    );
  }
  return nodes;
}

/**
 * Parses one node.
 *
 * @throws {UsageError} A name or an address is invalid
 */
export function nodeOf(text: string): PlannedNode {
  const [name, address, ...more] = text.split("=");
  if (address === undefined || more.length > 0) {
    throw new UsageError(`${read.quote(text)} must be NAME=ADDRESS, such as n1=10.0.0.1`);
  }
  try {
    // Not 0.0.0.0: others connect to it.
    const host = read.address(address.replace(/^\[(.*)\]$/, "$1"));
    if (host === "0.0.0.0" || host === "::") {
      throw new read.BadValue("must be the address at which the other nodes reach it");
    }
    return { name: read.name(name!), address: host };
  } catch (error) {
    if (!(error instanceof read.BadValue)) throw error;
    throw new UsageError(`${read.quote(text)}: the address or name ${error.message}`);
  }
}

/** Formats an address and a port. */
export function hostPort(address: string, port: number): string {
  return `${address.includes(":") ? `[${address}]` : address}:${port}`;
}
