/**
 * What a control plane is made of.
 *
 * @module
 */

import type { BlobStore } from "../blobs/types.ts";
import type { HealthCheck } from "../core/model.ts";
import type { BusAuth, ClusterStatus } from "../core/operations.ts";
import type { ControlPlaneEvent } from "./events.ts";
import type { PagesOptions } from "./pages/pages.ts";

export type { BusAuth, HealthCheck };

/** What {@link createControlPlane} takes besides the store. */
export interface ControlPlaneOptions {
  /** Whether signatures are demanded. Default `enforce`. */
  busAuth?: BusAuth;
  /** Where blobs are kept; without it `/v1/blobs` is not there. */
  blobs?: BlobStore;
  /** Most bytes of a blob. Default 64 MiB. */
  maxBlobBytes?: number;
  /** Most bytes of a JSON body. Default 1 MiB, and 8 MiB for the keys of all members of a room. */
  maxJsonBytes?: number;
  /**
   * Most bytes that the bodies of all requests take in memory at once; more are answered with
   * `unavailable`, `reason` `overloaded`. One key may take a quarter of it, and send two large bodies
   * (more than 256 KiB, or a blob) at once; more is `rate_limited`. Default 64 MiB.
   */
  maxBodyMemory?: number;
  /** Refuse rooms that are not end-to-end encrypted. Default false. */
  requireEncrypted?: boolean;
  /**
   * Most rooms that one user may own, unless `off`. Who is put into rooms is not asked, and what a
   * client may do on the bus has to fit one message. Default 500. One more is `quota_exceeded`, with
   * the name of the quota as `field`; so are those below.
   */
  maxRoomsPerOwner?: number;
  /** Most members of a room, its owner included, unless `off`. Default 10,000. */
  maxMembersPerRoom?: number;
  /**
   * Epochs of a room whose sealed keys are kept, 2 at least. A rekey never fails for it: the oldest are
   * removed. Default 100.
   */
  maxEpochsKept?: number;
  /** Most bytes of blobs that one user may keep, unless `off`. Default 1 GiB. */
  maxBlobBytesPerUser?: number;
  /**
   * The names (`host` or `host:port`, lower case) by which this control plane is reached. What is
   * meant for another is refused: under `enforce` so that no other server can pass on here what was
   * signed for it, else so that no web page can reach a server on loopback by a name of its own.
   * Default: any.
   */
  authorities?: readonly string[];
  /** More checks for `/readyz` than the store's and the blobs'. */
  readiness?: () => Promise<readonly HealthCheck[]>;
  /**
   * Reads the status of the cluster that the store is in, for `/v1/status` and the console: with a store
   * in JetStream, `clusterStatus` of `@unibus/membership`. Default: no cluster is reported.
   */
  cluster?: () => Promise<ClusterStatus>;
  /**
   * Most requests in flight at once; more are answered with `unavailable`, `reason` `overloaded`, and
   * when to come back. Default 1024, `Infinity` for no bound.
   */
  maxInFlight?: number;
  /**
   * Milliseconds that what is let in should take. Where it takes longer, or the event loop is late by
   * more, less is let in. Bodies that clients send do not count. Default 500, `Infinity` for no bound.
   */
  maxDelay?: number;
  /**
   * Most registrations from one address a minute, and as often it may ask whether an invite is good.
   * Default 60.
   */
  registrationsPerMinute?: number;
  /** Most failed authentications from one address a minute that are answered as such. Default 120. */
  failuresPerMinute?: number;
  /**
   * Who may read `/metrics` and the particulars of `/readyz`, which name files and servers: `anyone`,
   * or peers on this machine (`loopback`) but proxies that say so (`Forwarded`, `Via`, `X-Forwarded-For`,
   * `X-Real-IP`). Default: `loopback` under `enforce`, and where there are `authorities` only by one
   * of them or by an address.
   */
  detailsFor?: "anyone" | "loopback";
  /**
   * The path below which another server mounts this control plane, such as `/bus`. Clients sign the
   * whole path, so without it no signature fits. Requests may come with the base on or taken off.
   */
  basePath?: string;
  /** Which pages for people are served: `/join` and `/console`. Default both. */
  pages?: PagesOptions;
  /** Called with what happens. Default: nothing is said. */
  onEvent?: (event: ControlPlaneEvent) => void;
  /** The time now, for tests. Default: the system clock. */
  clock?: () => Date;
}

/** Who sent a request. */
export interface Peer {
  /** Its IP address. */
  address: string;
  /** Whether it is on the server's own machine, though it does not come from loopback. */
  isLocal?: boolean;
  /** Whether it has gone, for requests that wait; without it they wait to their end. */
  isGone?: () => boolean;
}

/** A control plane: a fetch handler that any runtime can serve. */
export interface ControlPlane {
  /** Answers a request; never rejects. */
  fetch(request: Request, peer?: Peer): Promise<Response>;
  /**
   * Ends what waits: requests for changes are answered at once, and the store is watched no more. To
   * be called before the server is closed, which else waits for them.
   */
  close(): void;
  /** Counts something of the surroundings in `/metrics`: `read` is asked at each scrape. */
  gauge(name: string, help: string, read: () => number): void;
}
