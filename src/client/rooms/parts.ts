/**
 * What rooms are made of. Deno and Node, and browsers, each bring their own parts; the rest of this folder
 * runs in all of them and has no `node:` imports.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import type { Primitives, RoomKeys } from "../../sealing/primitives.ts";
import type { Client } from "../types.ts";
import type { Trust } from "./trust.ts";
import type { RoomsOptions } from "./types.ts";

/** The methods of a client that rooms use. */
export type RoomsClient = Pick<
  Client,
  | "getUser"
  | "createRoom"
  | "getRoom"
  | "joinRoom"
  | "rekeyRoom"
  | "listMembers"
  | "getMember"
  | "addMember"
  | "removeMember"
  | "handOverRoom"
  | "listWaiting"
  | "getSealedKey"
  | "putSealedKey"
  | "listSealedKeys"
>;

/** What all work on rooms needs. */
export interface RoomContext {
  client: RoomsClient;
  keys: RoomKeys;
  primitives: Primitives;
  trust: Trust;
}

/** A connection to the bus. */
export interface Bus {
  /** The connection, without `noEcho`. */
  connection: NatsConnection;
  /** Closes what was opened for the rooms. */
  close(): Promise<void>;
}

/** The parts, beside the options that are the same everywhere. */
export interface RoomsParts extends Omit<RoomsOptions, "client" | "identity" | "nats"> {
  /** Client of the control plane, with the same keys. */
  client: RoomsClient;
  /** The keys that send and receive. */
  keys: RoomKeys;
  /** The primitives. */
  primitives: Primitives;
  /** Mean time between two notices that a member is here, milliseconds; equal for all. Default 30 s. */
  hereInterval?: number;
  /** Connects to the bus. Problems of the connection are reported to `onProblem`, if given. */
  connect(onProblem: (error: Error) => void): Promise<Bus>;
}
