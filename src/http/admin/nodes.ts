/**
 * The nodes of a control plane, as its clients learn them.
 *
 * @module
 */

import { createHash } from "node:crypto";
import type { ControlPlaneNode, ControlPlaneNodes } from "../../core/operations.ts";

/** The nodes, and the version of the list. */
export interface ListedNodes {
  /** Returns the nodes. */
  nodes(): ControlPlaneNodes;
  /** Returns a text that changes with the URLs; `null` if there is no other node to learn of. */
  nodesVersion(): string | null;
}

/** Makes it of what reads the nodes; a list must not be changed once it was returned. */
export function nodesOf(read: () => readonly ControlPlaneNode[]): ListedNodes {
  let last: readonly ControlPlaneNode[] = [];
  let version: string | null = null;
  return {
    nodes: () => ({ nodes: [...read()] }),
    nodesVersion() {
      const list = read();
      if (list !== last) {
        last = list;
        version = versionOf(list);
      }
      return version;
    },
  };
}

function versionOf(list: readonly ControlPlaneNode[]): string | null {
  const urls = list.map((it) => [it.urls, it.busUrls, it.wsUrls]);
  return list.length < 2
    ? null
    : createHash("sha256").update(JSON.stringify(urls)).digest("base64url").slice(0, 12);
}
