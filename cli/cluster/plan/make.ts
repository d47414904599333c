/**
 * Makes a plan: keys and certificates, the node file of this machine, and a `.join` file for each
 * other one.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { StoreError } from "../../../src/core/errors.ts";
import { systemCode } from "../../../src/core/host/system_code.ts";
import { toStoreError } from "../../../src/files/errors.ts";
import { setAside } from "../../../src/move/steps.ts";
import { writeWhole } from "../../../src/files/write.ts";
import { localTls } from "../../../src/nats/connection/local_tls.ts";
import { type NodeFile, type Values, writeNode } from "../../settings/node.ts";
import { serviceKeysPath, type Settings } from "../../settings/settings.ts";
import { createAuthority, issue, LONG_DAYS, type PemPair, SERVER_DAYS } from "./authority.ts";
import { type FirstNode, formatJoin, parseJoin } from "./join_file.ts";
import { hostPort } from "./nodes.ts";
import { readAuthority, readSecret, writeFiles, writePlan } from "./plan_file.ts";
import { aloneFor, type Base, FILES, getsCertificate, hasRouteTls } from "./settings.ts";
import type { Plan, PlannedNode } from "./types.ts";

/** What is to be written. */
export interface Making {
  /** The plan. */
  plan: Plan;
  /** What its settings were made from. */
  base: Base;
  /** Whether this plan was made before, so that its keys are kept. */
  isKept: boolean;
  /** The node file of this machine, if there is one. */
  node: NodeFile | null;
  /** The directory of the `.join` files. */
  out: string;
  /** Encrypts them. */
  passphrase: string | null;
  /** How long they can be used, in milliseconds. */
  life: number;
}

/** A `.join` file that was written. */
export interface Written {
  /** The node that it is for. */
  name: string;
  /** Its path. */
  path: string;
}

/** What was made. */
export interface Made {
  /** The `.join` files. */
  written: Written[];
  /** Where the streams of the former plan are now; null if there were none. */
  aside: string | null;
}

/** The path of a node's `.join` file. */
export function joinPath(out: string, name: string): string {
  return join(out, `${name}.join`);
}

/**
 * Refuses to write over a file that is not a `.join` file.
 *
 * @throws {StoreError} refused: it is something else
 */
export async function refuseOther(path: string): Promise<void> {
  try {
    parseJoin(await readFile(path, "utf8"));
  } catch (error) {
    if (systemCode(error) === "ENOENT") return;
    throw new StoreError("refused", `Writing ${path}: the file exists and is not a .join file`, {
      cause: error,
      hint: "move it away, or name another directory with --out",
    });
  }
}

/**
 * Writes everything; the plan last but for the node file, so that a run that was interrupted is begun
 * again. Nothing changes for the running server.
 *
 * @throws {StoreError} unavailable: a file cannot be read or written
 */
export async function makePlan(making: Making): Promise<Made> {
  const { plan, base, isKept, node, out, passphrase, life } = making;
  const { settings } = base;
  const { db } = settings;
  const [self, ...others] = plan.nodes as [PlannedNode, ...PlannedNode[]];
  const authority = isKept ? await readAuthority(db) : await createAuthority(plan.cluster);
  const secret = isKept ? await readSecret(db) : `${randomBytes(32).toString("base64url")}\n`;
  if (!isKept) {
    await writeFiles(dirname(db), {
      "cluster/ca.key": authority.key,
      ...await filesFor(base, self, authority, secret),
    });
  }
  // They know the nodes of the former plan, and wait for a majority of those.
  const aside = isKept ? null : await setAside(streamsOf(base, plan.settings[self.name]!));
  const written: Written[] = [];
  for (const it of others) {
    written.push(await writeJoin({ plan, base, authority, secret, out, passphrase, life }, it));
  }
  await writePlan(db, plan);
  await writeNode(db, {
    name: self.name,
    cluster: plan.cluster,
    plan: plan.id,
    // A node that is alone again stays so until it grows.
    state: isKept && node !== null ? node.state : "planned",
    settings: plan.settings[self.name]!,
    alone: aloneFor(base, self),
  });
  return { written, aside };
}

/** Returns the directory of the streams of the first node in a cluster. */
function streamsOf({ settings: { db } }: Base, values: Values): string {
  return resolve(dirname(db), String(values.natsStore));
}

/** What `.join` files are made of. */
export interface JoinMaking extends Pick<Making, "plan" | "out" | "passphrase" | "life"> {
  /** The nodes and the settings of the first one. */
  base: Base;
  /** The authority of the cluster. */
  authority: PemPair;
  /** The route secret. */
  secret: string;
}

/** Writes the `.join` file of a node, with certificates of its own. */
export async function writeJoin(
  { plan, base, authority, secret, out, passphrase, life }: JoinMaking,
  node: PlannedNode,
): Promise<Written> {
  const { settings } = base;
  const path = joinPath(out, node.name);
  const now = Date.now();
  const front = {
    ...node,
    plan: plan.id,
    cluster: plan.cluster,
    createdAt: new Date(now).toISOString(),
    expiresAt: new Date(now + life).toISOString(),
  };
  const keys = await readFile(serviceKeysPath(settings), "utf8");
  const text = await formatJoin(front, {
    settings: plan.settings[node.name]!,
    alone: aloneFor(base, node),
    files: { [FILES.keys]: keys, ...await filesFor(base, node, authority, secret) },
    needs: plan.needs,
    first: await firstOf(settings, base.nodes[0]!, base.tls ? authority.cert : null),
  }, passphrase);
  try {
    await writeWhole(path, text, { replace: true });
  } catch (error) {
    throw toStoreError(error, `Writing ${path}`);
  }
  return { name: node.name, path };
}

/** Returns the keys and certificates of one node. */
async function filesFor(
  base: Base,
  node: PlannedNode,
  authority: PemPair,
  secret: string,
): Promise<Record<string, string>> {
  const { name, address } = node;
  const files: Record<string, string> = { [FILES.secret]: secret, [FILES.ca]: authority.cert };
  if (hasRouteTls(base.settings)) {
    const route = await issue(authority, name, [address, name], LONG_DAYS);
    files[FILES.routeCert] = route.cert;
    files[FILES.routeKey] = route.key;
  }
  if (getsCertificate(base, node)) {
    const hosts = [address, name, "localhost", "127.0.0.1"];
    const server = await issue(authority, name, hosts, SERVER_DAYS);
    files[FILES.cert] = server.cert;
    files[FILES.key] = server.key;
  }
  return files;
}

/** Says how others reach this server as it runs now. */
async function firstOf(
  { tlsCert, ca, natsPort }: Settings,
  node: PlannedNode,
  authority: string | null,
): Promise<FirstNode> {
  const at = hostPort(node.address, natsPort);
  if (tlsCert === null) {
    return { ...node, url: `nats://${at}`, serverName: null, ca: authority };
  }
  const tls = await localTls({ cert: tlsCert, ...ca === null ? {} : { ca } });
  const pem = tls.caFile === undefined ? tls.ca ?? null : await readFile(tls.caFile, "utf8");
  return { ...node, url: `tls://${at}`, serverName: tls.serverName ?? null, ca: pem };
}

/** Returns the ID of a new plan. */
export function newId(): string {
  return randomBytes(8).toString("hex");
}
