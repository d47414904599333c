/**
 * The plan on the first node: beside its node file, with the authority's private key.
 *
 * @module
 */

import { mkdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { StoreError } from "../../../src/core/errors.ts";
import { systemCode } from "../../../src/core/host/system_code.ts";
import { writeWhole } from "../../../src/files/write.ts";
import { toStoreError } from "../../../src/files/errors.ts";
import { clusterDirectory } from "../../settings/node.ts";
import type { PemPair } from "./authority.ts";
import type { Plan, PlanInputs } from "./types.ts";

const VERSION = 1;
const PLAN = "plan.json";

/**
 * Reads the plan beside a SQLite file; null if there is none.
 *
 * @throws {StoreError} corrupt: it is damaged; unsupported: a newer version
 */
export async function readPlan(db: string): Promise<Plan | null> {
  const path = join(clusterDirectory(db), PLAN);
  let json: { version?: unknown } & Plan;
  try {
    json = JSON.parse(await readFile(path, "utf8"));
  } catch (cause) {
    if (systemCode(cause) === "ENOENT") return null;
    throw new StoreError("corrupt", `Reading the plan ${path}: it is damaged or cannot be read`, {
      cause,
      hint: "make a new one with membershipd cluster plan --replace",
    });
  }
  if (json.version === VERSION) return json;
  throw new StoreError("unsupported", `Reading the plan ${path}: a newer program wrote it`);
}

/** Writes the plan; the last of its files. */
export async function writePlan(db: string, plan: Plan): Promise<void> {
  const text = `${JSON.stringify({ version: VERSION, ...plan }, null, 2)}\n`;
  await writeFiles(dirname(db), { [`cluster/${PLAN}`]: text });
}

/** Reports whether two plans were asked for the same. */
export function isSame(a: PlanInputs, b: PlanInputs): boolean {
  const plain = ({ cluster, nodes, settings, tls, keys }: PlanInputs) =>
    JSON.stringify({ cluster, nodes, settings, tls, keys });
  return plain(a) === plain(b);
}

/** Reads the authority that issues the certificates of a plan. */
export async function readAuthority(db: string): Promise<PemPair> {
  const directory = clusterDirectory(db);
  try {
    const [cert, key] = await Promise.all(
      ["ca.pem", "ca.key"].map((it) => readFile(join(directory, it), "utf8")),
    );
    return { cert: cert!, key: key! };
  } catch (error) {
    throw toStoreError(error, `Reading the certificate authority in ${directory}`);
  }
}

/** Reads the route secret of a plan. */
export async function readSecret(db: string): Promise<string> {
  const path = join(clusterDirectory(db), "route.secret");
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw toStoreError(error, `Reading ${path}`);
  }
}

/** Writes files of a node, each whole and readable by its owner only. */
export async function writeFiles(
  directory: string,
  files: Readonly<Record<string, string>>,
): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    const path = join(directory, name);
    try {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      await writeWhole(path, text, { replace: true });
    } catch (error) {
      throw toStoreError(error, `Writing ${path}`);
    }
  }
}
