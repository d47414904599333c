/**
 * Options of a control plane.
 *
 * @module
 */

import type { BlobStore } from "../blobs/types.ts";
import type { StoreError } from "../core/errors.ts";
import type { HealthCheck } from "../core/model.ts";
import type {
  BusAuth,
  BusConnections,
  ClusterStatus,
  ControlPlaneNode,
  FollowerStatus,
  Journey,
} from "../core/operations.ts";
import type { Search } from "../core/store/search.ts";
import type { ControlPlaneEvent } from "./events.ts";
import type { PagesOptions } from "./pages/pages.ts";

export type { BusAuth, HealthCheck };

/** What {@link createControlPlane} takes besides the store. */
export interface ControlPlaneOptions {
  /** Whether signatures are required. Default `enforce`. */
  busAuth?: BusAuth;
  /** Storage for blobs; without it `/v1/blobs` is not available. */
  blobs?: BlobStore;
  /** Most bytes of a blob. Default 64 MiB. */
  maxBlobBytes?: number;
  /** Most bytes of a JSON body. Default 1 MiB, and 8 MiB for the keys of all members of a room. */
  maxJsonBytes?: number;
  /**
   * Most bytes of memory for the bodies of all requests at once; above it a request fails with
   * `unavailable`, `reason` `overloaded`. One key may use a quarter of it, and send two large bodies
   * (more than 256 KiB, or a blob) at once; more is `rate_limited`. Default 64 MiB.
   */
  maxBodyMemory?: number;
  /** Refuse rooms that are not end-to-end encrypted. Default false. */
  requireEncrypted?: boolean;
  /**
   * Most rooms that one user may own, unless `off`. Default 500. Above it `quota_exceeded`, with the
   * name of the quota as `field`; the same applies to the quotas below.
   */
  maxRoomsPerOwner?: number;
  /** Most members of a room, its owner included, unless `off`. Default 10,000. */
  maxMembersPerRoom?: number;
  /**
   * Epochs of a room whose sealed keys are kept, at least 2. A rekey does not fail because of it: the
   * oldest keys are removed. Default 100.
   */
  maxEpochsKept?: number;
  /** Most bytes of blobs that one user may keep, unless `off`. Default 1 GiB. */
  maxBlobBytesPerUser?: number;
  /**
   * The names (`host` or `host:port`, lower case) by which this control plane is reached. Requests for
   * another name are refused: under `enforce` so that another server cannot forward requests that were
   * signed for it, else so that a web page cannot reach a server on loopback by DNS rebinding.
   * Default: any.
   */
  authorities?: readonly string[];
  /**
   * Why the stored data cannot be trusted, such as an alarm of a follower: every request is then
   * refused with 503, before its sender is looked at. Default: never.
   */
  alarm?: () => StoreError | null;
  /** Returns the status of the follower, for `/v1/status` and the console. Default: there is none. */
  follower?: () => FollowerStatus | null;
  /** More checks for `/readyz` than the store's and the blobs'. */
  readiness?: () => Promise<readonly HealthCheck[]>;
  /**
   * Reads the status of the cluster that the store is in, for `/v1/status` and the console: with a store
   * in JetStream, `clusterStatus` of `@unibus/membership`; null if there is none. Default: null.
   */
  cluster?: () => Promise<ClusterStatus | null>;
  /**
   * Returns the nodes of the control plane with their URLs for clients, for `GET /v1/nodes`: the same
   * list until something has changed. Default: none.
   */
  nodes?: () => readonly ControlPlaneNode[];
  /**
   * Counts open connections to the bus, all or those of one endpoint, for `/v1/counts`: `connections` of
   * the auth callout. Null if they are unknown. Default: null.
   */
  connections?: (endpoint?: string) => BusConnections | null;
  /** Reports how far the control plane's move is, for `/v1/status`; null if there was none. Default: null. */
  journey?: () => Journey | null;
  /**
   * Searches users and rooms for admins. Default: that of the store; a store in JetStream has one if it
   * was opened with a follower.
   */
  search?: Search;
  /**
   * Most requests in flight at once; more fail with `unavailable`, `reason` `overloaded`, and the time
   * to wait before a retry. Default 1024, `Infinity` for no limit.
   */
  maxInFlight?: number;
  /**
   * Target time of a request, milliseconds. If requests take longer, or the event loop is delayed by
   * more, fewer are accepted. Time for receiving bodies does not count. Default 500, `Infinity` for no
   * limit.
   */
  maxDelay?: number;
  /**
   * Most registrations from one address a minute, and most checks of invites. Default 60.
   */
  registrationsPerMinute?: number;
  /** Most failed authentications from one address a minute that are answered as such. Default 120. */
  failuresPerMinute?: number;
  /**
   * Who may read `/metrics` and the details of `/readyz`, which name files and servers: `anyone`, or
   * peers on this machine (`loopback`), except requests that a proxy forwards (`Forwarded`, `Via`,
   * `X-Forwarded-For`, `X-Real-IP`). Default: `loopback` under `enforce`, else `anyone`; with
   * `authorities`, only by one of these names or by an address.
   */
  detailsFor?: "anyone" | "loopback";
  /**
   * The path below which another server mounts this control plane, such as `/bus`. Clients sign the
   * whole path, so without it every signature is refused. Requests may arrive with or without the base.
   */
  basePath?: string;
  /** Which pages for people are served: `/join`, `/rooms` and `/console`. Default all. */
  pages?: PagesOptions;
  /** Called with each event. Default: events are discarded. */
  onEvent?: (event: ControlPlaneEvent) => void;
  /** The time now, for tests. Default: the system clock. */
  clock?: () => Date;
}

/** The sender of a request. */
export interface Peer {
  /** Its IP address. */
  address: string;
  /** Whether it is on the server's own machine, although its address is not loopback. */
  isLocal?: boolean;
  /** Whether it has disconnected, for requests that wait; without it they wait until their timeout. */
  isGone?: () => boolean;
}

/** A control plane: a fetch handler that any runtime can serve. */
export interface ControlPlane {
  /** Answers a request; never rejects. */
  fetch(request: Request, peer?: Peer): Promise<Response>;
  /**
   * Ends all waiting: answers requests for changes at once, and stops watching the store. Call it before
   * the server is closed, which otherwise waits for them.
   */
  close(): void;
  /** Counts something of the surroundings in `/metrics`: `read` is asked at each scrape. */
  gauge(name: string, help: string, read: () => number): void;
}
