/**
 * From flags, environment and file to settings, and where each came from.
 *
 * @module
 */

import { readFile } from "node:fs/promises";
import { systemCode } from "../../../src/core/host/system_code.ts";
import { UsageError } from "../../terminal/failure.ts";
import { BadValue } from "./read.ts";
import { flagOf, type Key, KEYS, type Settings, SPECS, variableOf } from "./settings.ts";

/** Where a value came from; the earlier wins. */
export type Source = "flag" | "environment" | "file" | "default";

/** What people gave. */
export interface Given {
  /** Values of flags, by the setting's name. */
  flags: Readonly<Record<string, string | undefined>>;
  /** The environment. */
  env: Readonly<Record<string, string | undefined>>;
  /** The file's values, or null without one. */
  file: { path: string; values: Readonly<Record<string, unknown>> } | null;
}

/** Settings and where they came from. */
export interface Resolved {
  /** The values. */
  settings: Settings;
  /** Where each came from. */
  sources: Readonly<Record<Key, Source>>;
}

/** Reads the file that `--config` or `UNIBUS_CONFIG` names. */
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
    // Its message goes on to quote the line, which may hold a secret.
    const [why = ""] = error.message.split("\n");
    throw new UsageError(
      `${path}, line ${error.line}: ${why.replace(/^Invalid TOML document: /, "")}`,
    );
  }
  return { path, values };
}

/** Puts together what people gave; throws `UsageError` with all that is wrong with it. */
export function resolve({ flags, env, file }: Given): Resolved {
  const problems = file === null ? [] : unknownKeys(file);
  const settings: Partial<Record<Key, unknown>> = {};
  const sources: Partial<Record<Key, Source>> = {};
  for (const key of KEYS) {
    const [source, value, where] = find(key, { flags, env, file });
    sources[key] = source;
    settings[key] = SPECS[key].fallback;
    if (source === "default") continue;
    try {
      if (value === undefined) throw new BadValue("must be text, a number, or a list of texts");
      settings[key] = SPECS[key].read(value);
    } catch (error) {
      if (!(error instanceof BadValue)) throw error;
      const found = key === "clusterPass" || value === undefined ? "" : `, found ${quote(value)}`;
      problems.push(`${where} ${error.message}${found}`);
    }
  }
  onlyOneSecret(settings, sources as Record<Key, Source>, problems);
  if (problems.length > 0) throw new UsageError(problems.join("\nerror: "));
  return { settings: settings as Settings, sources: sources as Record<Key, Source> };
}

/** Where a setting has its value, the value as text, and the name of that place for people. */
function find(key: Key, { flags, env, file }: Given): [Source, string | undefined, string] {
  const flag = flags[key];
  if (flag !== undefined) return ["flag", flag, flagOf(key)];
  const variable = variableOf(key);
  // As in a shell: an empty variable says nothing.
  if (env[variable]) return ["environment", env[variable], variable];
  if (file !== null && Object.hasOwn(file.values, key)) {
    return ["file", textOf(key, file.values[key]), `${file.path}: ${key}`];
  }
  return ["default", undefined, ""];
}

/** A value of the file as a flag would have it; undefined for what no flag could say. */
function textOf(key: Key, value: unknown): string | undefined {
  if (typeof value === "string") return value;
  if (typeof value === typeof SPECS[key].fallback && typeof value === "boolean") {
    return String(value);
  }
  if (typeof value === "number") return String(value);
  const isList = Array.isArray(value) && value.every((it) => typeof it === "string");
  return isList ? value.join(",") : undefined;
}

/** The secret itself and the file that holds it: the one that was said more loudly counts. */
function onlyOneSecret(
  settings: Partial<Record<Key, unknown>>,
  sources: Record<Key, Source>,
  problems: string[],
): void {
  if (settings.clusterPass === null || settings.clusterPassFile === null) return;
  const order: Source[] = ["flag", "environment", "file"];
  const [secret, path] = [sources.clusterPass, sources.clusterPassFile].map((it) =>
    order.indexOf(it)
  );
  if (secret === path) problems.push("--cluster-pass and --cluster-pass-file: give one of them");
  settings[secret! < path! ? "clusterPassFile" : "clusterPass"] = null;
}

function unknownKeys({ path, values }: NonNullable<Given["file"]>): string[] {
  return Object.keys(values).filter((it) => !(KEYS as string[]).includes(it)).map((it) => {
    const near = nearest(it);
    return `${path}: unknown setting ${quote(it)}${near === null ? "" : `; did you mean ${near}?`}`;
  });
}

/** The setting whose name is most like `word`, if one is. */
function nearest(word: string): Key | null {
  const plain = (it: string) => it.toLowerCase().replace(/[^a-z0-9]/g, "");
  const ranked = KEYS.map((key) => ({ key, far: distance(plain(word), plain(key)) }))
    .sort((a, b) => a.far - b.far);
  const best = ranked[0]!;
  return best.far <= Math.max(2, word.length / 3) ? best.key : null;
}

/** Edits that turn one word into the other (Levenshtein). */
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

function quote(value: string): string {
  return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value);
}
