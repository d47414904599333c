/**
 * The node file: what this machine is in a cluster, and the settings that it serves with there.
 * `cluster plan` and `join` write it, `grow` and `shrink` change its state.
 *
 * @module
 */

import { readFile, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import process from "node:process";
import { systemCode } from "../../src/core/host/system_code.ts";
import { writeWhole } from "../../src/files/write.ts";
import { UsageError } from "../terminal/failure.ts";

/** The state of a node. Only `clustered` changes its settings. */
export type NodeState = "planned" | "clustered" | "alone";

const STATES: readonly string[] = ["planned", "clustered", "alone"] satisfies NodeState[];

/** Values by the setting's name, as in the file in `--config`. */
export type Values = Readonly<Record<string, unknown>>;

/** The contents of a node file. */
export interface NodeContents {
  /** This node's name. */
  readonly name: string;
  /** The cluster's name. */
  readonly cluster: string;
  /** ID of the plan that made it. */
  readonly plan: string;
  /** Its state. */
  readonly state: NodeState;
  /** The node's settings; paths are relative to the file's directory. */
  readonly settings: Values;
  /** What this machine had been given as settings of its own instead, and may still be given. */
  readonly alone: Values;
}

/** A node file as read; the paths in its settings are absolute. */
export interface NodeFile extends NodeContents {
  /** Its path. */
  readonly path: string;
}

/** Version of the file. */
const VERSION = 1;

/** Settings that are paths. */
export const PATHS: readonly string[] = [
  "tlsCert",
  "tlsKey",
  "serviceKeys",
  "follower",
  "storeDir",
  "natsStore",
  "ca",
  "clusterPassFile",
  "routeTlsCert",
  "routeTlsKey",
  "routeTlsCa",
];

/** Returns the path of the node file: beside the SQLite file. */
export function nodePath(db: string): string {
  return join(dirname(db), "node.json");
}

/** Returns the directory of the node's keys and certificates. */
export function clusterDirectory(db: string): string {
  return join(dirname(db), "cluster");
}

/**
 * Reads the node file beside a SQLite file; null if there is none.
 *
 * @throws {UsageError} It cannot be read, is damaged, or other users can change it
 */
export async function readNode(db: string): Promise<NodeFile | null> {
  const path = nodePath(db);
  let text: string;
  try {
    text = await readFile(path, "utf8");
    const { mode } = await stat(path);
    if (process.platform !== "win32" && (mode & 0o022) !== 0) {
      throw new UsageError(`${path}: other users of this machine can change it; chmod 600 ${path}`);
    }
  } catch (cause) {
    if (["ENOENT", "ENOTDIR"].includes(systemCode(cause))) return null;
    if (cause instanceof UsageError || systemCode(cause) === "") throw cause;
    throw new UsageError(`${path}: cannot be read (${systemCode(cause)})`, { cause });
  }
  return located(parse(text, path), path);
}

/** Returns the contents of a node file at a path. */
export function located(contents: NodeContents, path: string): NodeFile {
  const absolute = (values: Values) => withPaths(values, (it) => resolve(dirname(path), it));
  const [settings, alone] = [absolute(contents.settings), absolute(contents.alone)];
  return { ...contents, path, settings, alone };
}

function parse(text: string, path: string): NodeContents {
  let json: Record<string, unknown> | null = null;
  try {
    json = JSON.parse(text);
  } catch {
    // Reported below.
  }
  if (typeof json?.version === "number" && json.version !== VERSION) {
    throw new UsageError(
      `${path}: has version ${json.version}, this program supports ${VERSION}; use a newer program`,
    );
  }
  const { name, cluster, plan, state, settings, alone } = json ?? {};
  const isText = [name, cluster, plan].every((it) => typeof it === "string");
  if (
    json?.version !== VERSION || !isText || !STATES.includes(String(state)) ||
    !isObject(settings) || !isObject(alone)
  ) {
    throw new UsageError(
      `${path}: is damaged; restore it from a backup, or remove it and join the cluster again`,
    );
  }
  return { name, cluster, plan, state, settings, alone } as NodeContents;
}

function isObject(value: unknown): value is Values {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Writes the node file beside a SQLite file, atomically, readable by its owner only. */
export async function writeNode(db: string, node: NodeContents): Promise<void> {
  const path = nodePath(db);
  const { name, cluster, plan, state, settings, alone } = node;
  // Relative, so that the directory can be moved.
  const relative = (values: Values) =>
    withPaths(values, (it) => {
      const here = `${resolve(dirname(path))}/`;
      return it.startsWith(here) ? it.slice(here.length) : it;
    });
  const contents = {
    version: VERSION,
    name,
    cluster,
    plan,
    state,
    settings: relative(settings),
    alone: relative(alone),
  };
  await writeWhole(path, `${JSON.stringify(contents, null, 2)}\n`, { replace: true });
}

function withPaths(values: Values, change: (path: string) => string): Values {
  return Object.fromEntries(
    Object.entries(values).map(([key, value]) => {
      const isPath = PATHS.includes(key) && typeof value === "string" &&
        !(key === "follower" && value === "none");
      return [key, isPath ? change(value as string) : value];
    }),
  );
}
