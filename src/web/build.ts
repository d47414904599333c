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

/** The pages, each a directory with `index.html`, `main.tsx` and `<name>.css`. */
const PAGES = ["console", "docs", "join", "rooms"] as const;
/** Pages without a script: each a directory with `index.html` and `<name>.css`. */
const PLAIN = ["front"] as const;

/** The file that is made. */
export const GENERATED: URL = new URL("../http/pages/web_assets.ts", import.meta.url);

const HEAD = `\
// Made by \`deno task web\` from src/web: do not change it here.

/** The pages' documents, by page. */
export const DOCUMENTS: Readonly<Record<${
  [...PAGES, ...PLAIN].map((it) => `"${it}"`).join(" | ")
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
    const names: Record<string, string> = {
      icon: keep("icon", await read("shared/icon.svg"), "svg"),
    };
    const scripts = PAGES.map((page) => `${page}/main.tsx`);
    const styles = [...PAGES, ...PLAIN].map((page) => `${page}/${page}.css`);
    await bundle(["--code-splitting", ...scripts], directory);
    await bundle(styles, directory);
    // What several pages use is in files of its own, which a browser has from the first of them.
    const chunks = await chunksIn(directory);
    const kept = new Map<string, string>();
    const linked = (text: string) => {
      for (const [chunk, name] of kept) text = text.replaceAll(chunk, name);
      return text.replaceAll("../shared", "./shared");
    };
    for (const [chunk, text] of chunks) kept.set(chunk, keep("shared", linked(text), "js"));
    const fill = async (page: string, loads: readonly string[]) => {
      const style = await readFile(join(directory, page, `${page}.css`), "utf8");
      names.style = keep(page, style, "css");
      const html = await read(`${page}/index.html`);
      documents[page] = html
        .replace(
          /^(.*)\{\{shared\}\}(.*\n)/m,
          (_, before, after) => loads.map((it) => `${before}/assets/${it}${after}`).join(""),
        )
        .replace(/\{\{(\w+)\}\}/g, (_, slot) => `/assets/${names[slot]}`);
    };
    for (const page of PAGES) {
      const script = await readFile(join(directory, page, "main.js"), "utf8");
      names.script = keep(page, linked(script), "js");
      await fill(page, loadedBy(script, chunks).map((it) => kept.get(it)!));
    }
    for (const page of PLAIN) await fill(page, []);
    return `${HEAD}${literal(documents)};\n${ASSETS}${literal(assets)};\n`;
  } finally {
    await rm(directory, { recursive: true });
  }
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
