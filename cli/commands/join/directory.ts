/**
 * What the directory of a machine that joins holds already.
 *
 * @module
 */

import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { StoreError } from "../../../src/core/errors.ts";
import { systemCode } from "../../../src/core/host/system_code.ts";
import { CONTROL_ACCOUNT } from "../../../src/nats/callout/accounts.ts";
import { loadServiceKeys } from "../../../src/nats/mod.ts";
import { roleOf } from "../../../src/sqlite/file/role.ts";
import { lookAt } from "../../cluster/directory.ts";
import { fingerprint } from "../../cluster/presence.ts";
import type { JoinFront } from "../../cluster/plan/join_file.ts";
import { FILES } from "../../cluster/plan/settings.ts";
import type { NodeFile } from "../../settings/node.ts";
import { isControlPlane } from "../../serve/checks/beside.ts";

/**
 * Reports whether a directory is this node of this plan already.
 *
 * @param node Its node file, if there is one
 * @throws {StoreError} refused: it is another node, or of another plan
 */
export function isJoined(node: NodeFile | null, file: JoinFront): boolean {
  if (node === null) return false;
  const found = `${node.path} says that this is node ${node.name} of cluster ${node.cluster}`;
  if (node.name !== file.name) {
    throw new StoreError("refused", `Joining as ${file.name}: ${found}`, {
      hint: "name an empty directory with --dir, or use the file of this node",
    });
  }
  if (node.plan === file.plan) return true;
  throw new StoreError(
    "refused",
    `Joining as ${file.name} by plan ${file.plan}: ${found} by plan ${node.plan}`,
    {
      hint: "if that plan was replaced before the cluster grew, stop this node, remove node.json " +
        "and the cluster directory beside it, and join again",
    },
  );
}

/**
 * Refuses a directory that holds another control plane or its keys.
 *
 * @throws {StoreError} refused: what was found and what to do
 */
export async function refuseUsed(directory: string, keys: string): Promise<void> {
  const names = await namesIn(directory);
  for (const name of names.filter((it) => it.endsWith(".db"))) {
    const path = join(directory, name);
    const { role } = roleOf(path);
    if (role === "follower") throw used(`${path} is the second copy of another control plane`);
    if (await isControlPlane(path)) throw used(`${path} holds a control plane`);
  }
  for (const name of names.filter((it) => it.startsWith("jetstream"))) {
    const { streams } = await lookAt(join(directory, name));
    const held = streams.find((it) => it.account === CONTROL_ACCOUNT);
    if (held !== undefined) {
      throw used(`${join(directory, name)} holds the stream ${held.stream} of a control plane`);
    }
  }
  if (!names.includes(FILES.keys)) return;
  const path = join(directory, FILES.keys);
  if (fingerprint(await loadServiceKeys(path)) === keys) return;
  throw used(`${path} are the service keys of another control plane`);
}

function used(found: string): StoreError {
  return new StoreError("refused", `Joining: ${found}`, {
    hint: "name an empty directory with --dir, or move that away if nothing needs it any longer",
  });
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return (await readdir(directory)).sort();
  } catch (error) {
    if (systemCode(error) === "ENOENT") return [];
    throw error;
  }
}
