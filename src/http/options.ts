/**
 * What a control plane is made of.
 *
 * @module
 */

import type { BlobStore } from "../blobs/types.ts";
import type { ControlPlaneEvent } from "./events.ts";

/**
 * Whether signatures are demanded. `off` does not look: whoever reaches the server may do everything.
 * `soft` checks, tells of what `enforce` would refuse, and lets it pass. `enforce` refuses.
 */
export type BusAuth = "off" | "soft" | "enforce";

/** One thing that must be so before requests are welcome. */
export interface ReadinessCheck {
  /** Its name, such as `nats`. */
  name: string;
  /** Whether it is so. */
  ok: boolean;
  /** What was found, for people. */
  detail: string;
}

/** What {@link createControlPlane} takes besides the store. */
export interface ControlPlaneOptions {
  /** Whether signatures are demanded. Default `enforce`. */
  busAuth?: BusAuth;
  /** Where blobs are kept; without it `/v1/blobs` is not there. */
  blobs?: BlobStore;
  /** Most bytes of a blob. Default 64 MiB. */
  maxBlobBytes?: number;
  /** Most bytes of a JSON body. Default 1 MiB. */
  maxJsonBytes?: number;
  /** Refuse rooms that are not end-to-end encrypted. Default false. */
  requireEncrypted?: boolean;
  /**
   * Most rooms that one user may own, unless `off`. Who is put into rooms is not asked, and what a
   * client may do on the bus has to fit one message. Default 500.
   */
  maxRoomsPerOwner?: number;
  /**
   * The names (`host` or `host:port`, lower case) by which this control plane is reached. What is
   * meant for another is refused: under `enforce` so that no other server can pass on here what was
   * signed for it, else so that no web page can reach a server on loopback by a name of its own.
   * Default: any.
   */
  authorities?: readonly string[];
  /** More checks for `/readyz` than the store's and the blobs'. */
  readiness?: () => Promise<readonly ReadinessCheck[]>;
  /** Most registrations from one address a minute. Default 60. */
  registrationsPerMinute?: number;
  /** Most failed authentications from one address a minute that are answered as such. Default 120. */
  failuresPerMinute?: number;
  /**
   * Who may read `/metrics` and the particulars of `/readyz`, which name files and servers: `anyone`,
   * or peers on `loopback`. Default: `loopback` under `enforce`.
   */
  detailsFor?: "anyone" | "loopback";
  /** Called with what happens. Default: nothing is said. */
  onEvent?: (event: ControlPlaneEvent) => void;
  /** The time now, for tests. Default: the system clock. */
  clock?: () => Date;
}

/** Who sent a request. */
export interface Peer {
  /** Its IP address. */
  address: string;
}

/** A control plane: a fetch handler that any runtime can serve. */
export interface ControlPlane {
  /** Answers a request; never rejects. */
  fetch(request: Request, peer?: Peer): Promise<Response>;
  /** Counts something of the surroundings in `/metrics`: `read` is asked at each scrape. */
  gauge(name: string, help: string, read: () => number): void;
}
