/**
 * Resolves the settings and their sources from flags, environment and file.
 *
 * @module
 */

import { readFile } from "node:fs/promises";
import { systemCode } from "../../src/core/host/system_code.ts";
import { UsageError } from "../terminal/failure.ts";
import { type NodeFile, type NodeState, readNode } from "./node.ts";
import { holdToNode } from "./own.ts";
import { BadValue, foundText, quote } from "./read.ts";
import { flagOf, type Key, KEYS, type Settings, SPECS, variableOf } from "./settings.ts";

/** The source of a value, in order of precedence. */
export type Source = "flag" | "environment" | "file" | "node" | "default";

/** The input of {@link resolve}. */
export interface Given {
  /** Values of flags, by the setting's name. */
  flags: Readonly<Record<string, string | undefined>>;
  /** Environment variables. */
  env: Readonly<Record<string, string | undefined>>;
  /** The file's values, or null without a file. */
  file: { path: string; values: Readonly<Record<string, unknown>> } | null;
  /** The node file; it has settings only while its state is `clustered`. Default: none. */
  node?: NodeFile | null;
}

/** Settings and their sources. */
export interface Resolved {
  /** The values. */
  settings: Settings;
  /** The source of each value. */
  sources: Readonly<Record<Key, Source>>;
  /** The node file, in any state; null if there is none. */
  node: NodeFile | null;
}

/**
 * Reads the file in `--config` or `UNIBUS_CONFIG`.
 *
 * @throws {UsageError} The file cannot be read or is not valid TOML
 */
export async function readConfig(path: string): Promise<Given["file"]> {
  let found: string;
  try {
    found = await readFile(path, "utf8");
  } catch (cause) {
    const why = systemCode(cause) === "ENOENT" ? "no such file" : "cannot be read";
    throw new UsageError(`--config ${path}: ${why}`, { cause });
  }
  const { parse, TomlError } = await import("smol-toml");
  let values: Record<string, unknown>;
  try {
    values = parse(found);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    // The rest of the message quotes the line, which may contain a secret.
    const [why = ""] = error.message.split("\n");
    throw new UsageError(
      `${path}, line ${error.line}: ${why.replace(/^Invalid TOML document: /, "")}`,
    );
  }
  return { path, values };
}

/**
 * Resolves the settings.
 *
 * @throws {UsageError} There are invalid values; the message lists all of them
 */
export function resolve(given: Given): Resolved {
  const { file } = given;
  const node = given.node?.state === "clustered" ? given.node : null;
  const problems = [
    ...file === null ? [] : unknownKeys(file),
    ...node === null ? [] : unknownKeys({ path: node.path, values: node.settings }),
  ];
  const settings: Partial<Record<Key, unknown>> = {};
  const sources: Partial<Record<Key, Source>> = {};
  for (const key of KEYS) {
    const [source, value, where] = find(key, given, node);
    sources[key] = source;
    settings[key] = SPECS[key].fallback;
    if (source === "default") continue;
    try {
      settings[key] = parse(key, value);
    } catch (error) {
      if (!(error instanceof BadValue)) throw error;
      const shown = key === "clusterPass" || value === undefined ? "" : foundText(value);
      problems.push(`${where} ${error.message}${shown}`);
    }
  }
  const resolved = { settings: settings as Settings, sources: sources as Record<Key, Source> };
  if (node !== null && problems.length === 0) {
    problems.push(...holdToNode(resolved, node, (key, value) => parse(key, textOf(key, value))));
  }
  onlyOneSecret(settings, resolved.sources, problems);
  if (problems.length > 0) throw new UsageError(problems.join("\nerror: "));
  return { ...resolved, node: given.node ?? null };
}

function parse(key: Key, value: string | undefined): unknown {
  if (value === undefined) throw new BadValue("must be a string, a number or a list of strings");
  return SPECS[key].read(value);
}

/** Finds a setting's source, its value as text, and a name of the source for messages. */
function find(
  key: Key,
  { flags, env, file }: Given,
  node: NodeFile | null,
): [Source, string | undefined, string] {
  const flag = flags[key];
  if (flag !== undefined) return ["flag", flag, flagOf(key)];
  const variable = variableOf(key);
  // As in a shell, an empty variable is ignored.
  if (env[variable]) return ["environment", env[variable], variable];
  if (file !== null && Object.hasOwn(file.values, key)) {
    return ["file", textOf(key, file.values[key]), `${file.path}: ${key}`];
  }
  if (node !== null && Object.hasOwn(node.settings, key)) {
    return ["node", textOf(key, node.settings[key]), `${node.path}: ${key}`];
  }
  return ["default", undefined, ""];
}

/** Converts a value of the file to the text of a flag; undefined if that is not possible. */
function textOf(key: Key, value: unknown): string | undefined {
  if (typeof value === "string") return value;
  if (typeof value === typeof SPECS[key].fallback && typeof value === "boolean") {
    return String(value);
  }
  if (typeof value === "number") return String(value);
  const isList = Array.isArray(value) && value.every((it) => typeof it === "string");
  return isList ? value.join(",") : undefined;
}

/** Keeps the secret or its file, whichever source has precedence. */
function onlyOneSecret(
  settings: Partial<Record<Key, unknown>>,
  sources: Record<Key, Source>,
  problems: string[],
): void {
  if (settings.clusterPass === null || settings.clusterPassFile === null) return;
  const order: Source[] = ["flag", "environment", "file", "node"];
  const [secret, path] = [sources.clusterPass, sources.clusterPassFile].map((it) =>
    order.indexOf(it)
  );
  if (secret === path) {
    problems.push(
      "--cluster-pass and --cluster-pass-file cannot be used together; use only one of them",
    );
  }
  settings[secret! < path! ? "clusterPassFile" : "clusterPass"] = null;
}

function unknownKeys({ path, values }: NonNullable<Given["file"]>): string[] {
  return Object.keys(values).filter((it) => !(KEYS as string[]).includes(it)).map((key) => {
    const near = nearest(key);
    return `${path}: unknown setting ${quote(key)}${
      near === null ? "" : `; did you mean ${near}?`
    }`;
  });
}

/** Finds the setting with the name most similar to `word`, if any is similar. */
function nearest(word: string): Key | null {
  const plain = (it: string) => it.toLowerCase().replace(/[^a-z0-9]/g, "");
  const ranked = KEYS.map((key) => ({ key, far: distance(plain(word), plain(key)) }))
    .sort((a, b) => a.far - b.far);
  const best = ranked[0]!;
  return best.far <= Math.max(2, word.length / 3) ? best.key : null;
}

/** Computes the edit distance of two words (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (const [i, x] of [...a].entries()) {
    const next = [i + 1];
    for (const [j, y] of [...b].entries()) {
      next.push(Math.min(next[j]! + 1, row[j + 1]! + 1, row[j]! + (x === y ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length]!;
}

/**
 * Resolves the settings; those of a clustered node come before the defaults.
 *
 * @param given Flags, environment variables and file
 * @param state The state in which the node is taken to be. Default: the one in its file
 * @throws {UsageError} There are invalid values, or they contradict the node file
 */
export async function resolveHere(given: Given, state?: NodeState): Promise<Resolved> {
  const { settings } = resolve(given);
  const node = await readNode(settings.db);
  return resolve({ ...given, node: node && { ...node, state: state ?? node.state } });
}
