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
const PAGES = ["console", "join"] as const;

/** The file that is made. */
export const GENERATED: URL = new URL("../http/pages/web_assets.ts", import.meta.url);

const HEAD = `\
// Made by \`deno task web\` from src/web: do not change it here.

/** The pages' documents, by page. */
export const DOCUMENTS: Readonly<Record<${PAGES.map((it) => `"${it}"`).join(" | ")}, string>> = `;

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
    const styles = PAGES.map((page) => `${page}/${page}.css`);
    await bundle(["--code-splitting", ...scripts], directory);
    await bundle(styles, directory);
    // What both pages use is in one more file, which a browser has from the first of them.
    const chunks = (await readdir(directory)).filter((it) => it.endsWith(".js"));
    const [chunk] = chunks;
    if (chunk === undefined || chunks.length > 1) {
      throw new Error(`One file for both pages was expected, found ${chunks.length}`);
    }
    names.shared = keep("shared", await readFile(join(directory, chunk), "utf8"), "js");
    for (const page of PAGES) {
      const script = await readFile(join(directory, page, "main.js"), "utf8");
      names.script = keep(page, script.replaceAll(`../${chunk}`, `./${names.shared}`), "js");
      const style = await readFile(join(directory, page, `${page}.css`), "utf8");
      names.style = keep(page, style, "css");
      const html = await read(`${page}/index.html`);
      documents[page] = html.replace(/\{\{(\w+)\}\}/g, (_, slot) => `/assets/${names[slot]}`);
    }
    return `${HEAD}${literal(documents)};\n${ASSETS}${literal(assets)};\n`;
  } finally {
    await rm(directory, { recursive: true });
  }
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
