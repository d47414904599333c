/**
 * The settings that a clustered node has from its node file: other sources may not contradict them.
 *
 * @module
 */

import { resolve } from "node:path";
import { type NodeFile, PATHS } from "./node.ts";
import { flagOf, type Key, type Settings, SPECS, variableOf } from "./settings.ts";

/** Settings in which one node that differs would be a node of another cluster, or of none. */
const OWN: readonly Key[] = [
  "store",
  "bucket",
  "natsStore",
  "serviceKeys",
  "natsUrl",
  "clusterName",
  "serverName",
  "clusterPort",
  "routes",
  "clusterUser",
  "clusterPass",
  "clusterPassFile",
  "routeTlsCert",
  "routeTlsKey",
  "routeTlsCa",
];

/** Settings and their sources, to be changed. */
interface Found {
  settings: Settings;
  sources: Readonly<Record<Key, string>>;
}

/**
 * Replaces what was set for this machine while it was alone, as in its service unit, by the node's
 * own settings; returns the contradictions that are left.
 *
 * @param found The settings by precedence
 * @param node The node file
 * @param parse Parses a value of the file
 */
export function holdToNode(
  found: Found,
  node: NodeFile,
  parse: (key: Key, value: unknown) => unknown,
): string[] {
  const settings = found.settings as { -readonly [K in Key]: unknown };
  const sources = found.sources as Record<Key, string>;
  const of = (values: NodeFile["settings"], key: Key) =>
    Object.hasOwn(values, key) ? parse(key, values[key]) : undefined;
  return OWN.flatMap((key) => {
    if (["default", "node"].includes(sources[key])) return [];
    const own = of(node.settings, key) ?? SPECS[key].fallback;
    if (isSame(key, settings[key], own)) return [];
    const alone = of(node.alone, key);
    if (alone !== undefined && isSame(key, settings[key], alone)) {
      settings[key] = own;
      sources[key] = "node";
      return [];
    }
    const where = sources[key] === "flag"
      ? flagOf(key)
      : sources[key] === "environment"
      ? variableOf(key)
      : `${key} in the --config file`;
    const shown = key === "clusterPass" ? "another route secret" : JSON.stringify(settings[key]);
    return [
      `${where} is ${shown}, but this machine is node ${node.name} of cluster ${node.cluster}, ` +
      `whose ${key} is ${JSON.stringify(own)} (${node.path}); remove ${where}, or use another --db`,
    ];
  });
}

function isSame(key: Key, a: unknown, b: unknown): boolean {
  const plain = (it: unknown) =>
    JSON.stringify(PATHS.includes(key) && typeof it === "string" ? resolve(it) : it);
  return plain(a) === plain(b);
}
