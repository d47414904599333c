/**
 * Builds the pages: bundles the sources beside this file into `src/http/pages/web_assets.ts`, which is part
 * of the package and of the one binary. `deno task web` writes it; a test compares it.
 *
 * @module
 */

import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/** The pages, each a directory with `<name>.css` and, if it has a script, `main.tsx`. */
const PAGES: Readonly<Record<string, Page>> = {
  console: { title: "unibus console", by: "script" },
  docs: { title: "HTTP API · unibus", by: "both" },
  front: { title: "unibus", by: "server" },
  join: { title: "Join unibus", by: "script" },
  // What one types to stays in sight above a phone's keyboard.
  rooms: { title: "unibus rooms", by: "script", viewport: ", interactive-widget=resizes-content" },
};

interface Page {
  title: string;
  /** What makes its content. */
  by: "script" | "server" | "both";
  viewport?: string;
}

/** The file that is made. */
export const GENERATED: URL = new URL("../http/pages/web_assets.ts", import.meta.url);

const HEAD = `\
// Made by \`deno task web\` from src/web: do not change it here.

/** The pages' documents, by page. */
export const DOCUMENTS: Readonly<Record<${
  Object.keys(PAGES).map((it) => `"${it}"`).join(" | ")
}, string>> = `;

const ASSETS = `\

/** The scripts and styles, by the names the documents call them: each has a hash of its content. */
export const ASSETS: Readonly<Record<string, string>> = `;

/** Bundles the pages; gives the text of {@link GENERATED}. */
export async function build(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "unibus-web-"));
  try {
    const assets: Record<string, string> = {};
    const documents: Record<string, string> = {};
    const keep = (name: string, text: string, ext: string): string => {
      const full = `${name}.${hashOf(text)}.${ext}`;
      assets[full] = text;
      return full;
    };
    const icon = keep("icon", await read("shared/icon.svg"), "svg");
    const template = await read("page.html");
    const names = Object.keys(PAGES);
    const scripted = names.filter((it) => PAGES[it]!.by !== "server");
    const styles = names.map((page) => `${page}/${page}.css`);
    await bundle(["--code-splitting", ...scripted.map((it) => `${it}/main.tsx`)], directory);
    await bundle(styles, directory);
    // What several pages use is in files of its own, which a browser has from the first of them.
    const chunks = await chunksIn(directory);
    const kept = new Map<string, string>();
    const linked = (text: string) => {
      for (const [chunk, name] of kept) text = text.replaceAll(chunk, name);
      return text.replaceAll("../shared", "./shared");
    };
    for (const [chunk, text] of chunks) kept.set(chunk, keep("shared", linked(text), "js"));
    for (const page of names) {
      const { title, by, viewport = "" } = PAGES[page]!;
      const made = (file: string) => readFile(join(directory, page, file), "utf8");
      const scripts = by === "server" ? [] : [await made("main.js")];
      documents[page] = filled(by === "script" ? template : withoutNotice(template), {
        viewport: [`width=device-width, initial-scale=1${viewport}`],
        robots: by === "script" ? ["noindex"] : [],
        title: [title],
        icon: [icon],
        style: [keep(page, await made(`${page}.css`), "css")],
        shared: scripts.flatMap((it) => loadedBy(it, chunks)).map((it) => kept.get(it)!),
        script: scripts.map((it) => keep(page, linked(it), "js")),
        written: [by === "script" ? "" : "[[content]]"],
      });
    }
    return `${HEAD}${literal(documents)};\n${ASSETS}${literal(assets)};\n`;
  } finally {
    await rm(directory, { recursive: true });
  }
}

/** A template with values: a line stands there once for each value of its slot. */
function filled(template: string, values: Readonly<Record<string, readonly string[]>>): string {
  return template.split("\n").flatMap((line) => {
    const [slot, name] = /\{\{ ?(\w+) ?\}\}/.exec(line) ?? [];
    return slot === undefined ? [line] : values[name!]!.map((it) => line.replace(slot, it));
  }).join("\n");
}

/** A page whose content is in it needs no script. */
function withoutNotice(template: string): string {
  return template.replace(/ *<noscript>.*<\/noscript>\n/s, "");
}

/** The files that pages share, by name; each stands behind those it imports. */
async function chunksIn(directory: string): Promise<Map<string, string>> {
  const names = (await readdir(directory)).filter((it) => it.endsWith(".js"));
  const files = await Promise.all(
    names.map(async (it) => [it, await readFile(join(directory, it), "utf8")] as const),
  );
  // By content: the bundler's names depend on where the packages are on this machine.
  const plain = (text: string) => names.reduce((rest, it) => rest.replaceAll(it, ""), text);
  const left = new Map(files.sort(([, a], [, b]) => plain(a) < plain(b) ? -1 : 1));
  const sorted = new Map<string, string>();
  while (left.size > 0) {
    const ready = [...left].filter(([, text]) => importedBy(text, left).length === 0);
    if (ready.length === 0) throw new Error("Files that pages share import each other in a circle");
    for (const [name, text] of ready) {
      sorted.set(name, text);
      left.delete(name);
    }
  }
  return sorted;
}

/** Which of some files a script imports. */
function importedBy(script: string, files: ReadonlyMap<string, string>): string[] {
  return [...files.keys()].filter((it) => script.includes(`/${it}"`));
}

/** All of them that it loads, through others too. */
function loadedBy(script: string, files: ReadonlyMap<string, string>): string[] {
  const found = new Set<string>();
  const add = (text: string) => {
    for (const name of importedBy(text, files)) {
      if (found.has(name)) continue;
      found.add(name);
      add(files.get(name)!);
    }
  };
  add(script);
  return [...files.keys()].filter((it) => found.has(it));
}

function read(path: string): Promise<string> {
  return readFile(new URL(path, import.meta.url), "utf8");
}

async function bundle(args: readonly string[], directory: string): Promise<void> {
  const all = ["bundle", "--platform", "browser", "--minify", "--outdir", directory, ...args];
  const cwd = fileURLToPath(new URL(".", import.meta.url));
  await promisify(execFile)(process.execPath, all, { cwd });
}

function hashOf(text: string): string {
  return createHash("sha256").update(text).digest("base64url").slice(0, 12);
}

/** One line an entry, so that a difference is one of a page. */
function literal(entries: Record<string, string>): string {
  const lines = Object.entries(entries).map(([name, text]) =>
    `  ${JSON.stringify(name)}: ${JSON.stringify(text)},\n`
  );
  return `{\n${lines.join("")}}`;
}

if (import.meta.main) await writeFile(GENERATED, await build());
