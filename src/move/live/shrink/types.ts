/**
 * Options and reports of a live move from a bucket to a file.
 *
 * @module
 */

/** A step of {@link shrinkStore}, named before it is made. From `finish` on there is only forward. */
export type ShrinkPhase =
  | "check"
  | "begin"
  | "freeze"
  | "follow"
  | "mark"
  | "finish"
  | "flip"
  | "rename"
  | "open"
  | "done";

/** Progress of {@link shrinkStore}. */
export interface ShrinkProgress {
  /** The step that begins. */
  phase: ShrinkPhase;
  /** The attempt of the switch, from 1. */
  attempt: number;
  /** Why the last attempt was called off; `null` for the first. */
  calledOff: string | null;
  /**
   * Why a step behind the point of no return could not be made, such as another program that has the
   * follower's file open. It is tried again until it is made. `null` for no such reason.
   */
  waitsFor: string | null;
}

/** What moves the blobs, where they are in the cluster too. */
export interface ShrinkBlobs {
  /** Copies what there is, while all is served. */
  copy(): Promise<void>;
  /** Stops all who put and delete, and copies the rest. Called while the store's writers wait. */
  freeze(): Promise<void>;
  /** Lets them go on: the switch was called off. */
  thaw(): Promise<void>;
}

/** Options of {@link shrinkStore}. */
export interface ShrinkOptions {
  /** Path of the file that the control plane moves to, on the file system of the follower's file. */
  db: string;
  /** Name of this node. */
  node: string;
  /** The blobs. Default: none, or they stay where they are. */
  blobs?: ShrinkBlobs;
  /** Called before each attempt of the switch; awaited. */
  ready?: () => Promise<void>;
  /** Waits for a follower that lacks a part of the history. Default `true`. */
  history?: boolean;
  /** Who moves it, for the history. Default `library`. */
  by?: string;
  /** Only checks what would be done. Default `false`. */
  dryRun?: boolean;
  /** Milliseconds after which a switch that is not decided is called off. Default 700. */
  patience?: number;
  /** Attempts of the switch. Default 10. */
  attempts?: number;
  /** Called with each step. */
  onProgress?: (progress: ShrinkProgress) => void;
  /** Aborts the move as long as it can be called off. */
  signal?: AbortSignal;
  /** Ends it also behind the point of no return: {@link finishShrink} finishes it at the next start. */
  stop?: AbortSignal;
}

/** What {@link shrinkStore} did. */
export interface ShrinkReport {
  /** Version of this report's shape. */
  version: 1;
  /** Nothing was written: this is what would be done. */
  dryRun: boolean;
  /** The file. */
  db: string;
  /** Path of the file that was there before; `null` if there was none. */
  backup: string | null;
  /** The bucket. */
  bucket: string;
  /** The move; empty for a dry run. */
  journey: string;
  /** Sequence of the stream that the file is exact at. */
  position: number;
  /** Digest of the follower there. */
  digest: string;
  /** The generation of the control plane from now on. */
  generation: number;
  /** Rooms whose large change by a process that is gone was not complete; it was undone. */
  undone: string[];
  /** Attempts of the switch. */
  attempts: number;
  /** How long writes waited in the last attempt, milliseconds. */
  pauseMs: number;
}
