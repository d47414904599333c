/**
 * The walls between the folders of `src` and `cli`: who imports whom.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { dirname, join, normalize, sep } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
/** Files of one folder at most. */
const FILES_MAX = 12;

/** Nodes, and where each leads. */
type Graph = Map<string, Set<string>>;

/** The source files under some folders, as paths from the root. */
async function filesOf(...folders: string[]): Promise<string[]> {
  const found = await Promise.all(folders.map(async (folder) => {
    const entries = await readdir(join(ROOT, folder), { recursive: true, withFileTypes: true });
    return entries.filter((it) => it.isFile()).map((it) =>
      join(it.parentPath, it.name).slice(ROOT.length).replaceAll(sep, "/")
    );
  }));
  return found.flat();
}

/** Relative imports and exports, of types too, static or not. */
const IMPORT = /(?:\bfrom|\bimport)\s*\(?\s*["'](\.\.?\/[^"'\n]+)["']/g;

/** Which file imports which. */
async function importsOf(files: readonly string[]): Promise<Graph> {
  const sources = files.filter((it) => /\.(tsx?|css)$/.test(it) && !it.endsWith("web_assets.ts"));
  return new Map(
    await Promise.all(sources.map(async (file) => {
      const text = await readFile(join(ROOT, file), "utf8");
      const targets = [...text.matchAll(IMPORT)].map(([, path]) =>
        normalize(join(dirname(file), path!)).replaceAll(sep, "/")
      );
      return [file, new Set(targets)] as const;
    })),
  );
}

/**
 * The same between folders: of an import between two folders, the two that stand side by side in the
 * tree. A folder's own files stand both above and below its sub-folders (`mod.ts`, `types.ts`), so an
 * import between a folder and what is in it counts only between the files.
 */
function foldersOf(imports: Graph): Graph {
  const folders: Graph = new Map();
  for (const [file, targets] of imports) {
    for (const target of targets) {
      const from = dirname(file).split("/");
      const to = dirname(target).split("/");
      const same = from.findIndex((it, i) => it !== to[i]);
      if (same < 0 || same >= to.length) continue;
      const name = from.slice(0, same + 1).join("/");
      const leads = folders.get(name) ?? new Set();
      folders.set(name, leads.add(to.slice(0, same + 1).join("/")));
    }
  }
  return folders;
}

/** A way that leads back to where it began, for every such place found first. */
function circlesOf(graph: Graph): string[] {
  const circles: string[] = [];
  const done = new Set<string>();
  const visit = (node: string, way: string[]) => {
    const at = way.indexOf(node);
    if (at >= 0) circles.push([...way.slice(at), node].join(" -> "));
    if (at >= 0 || done.has(node)) return;
    for (const next of graph.get(node) ?? []) visit(next, [...way, node]);
    done.add(node);
  };
  for (const node of graph.keys()) visit(node, []);
  return circles;
}

/** Imports that lead out of `folder` to a file that `isForbidden`. */
function leadsOut(imports: Graph, folder: string, isForbidden: (target: string) => boolean) {
  return [...imports].filter(([file]) => file.startsWith(folder)).flatMap(([file, targets]) =>
    [...targets].filter(isForbidden).map((target) => `${file} -> ${target}`)
  );
}

Deno.test("circlesOf() finds a circle, and none where two ways meet", () => {
  const graph = (edges: string[]) => {
    const found: Graph = new Map();
    for (const [from, to] of edges as unknown as [string, string][]) {
      found.set(from, (found.get(from) ?? new Set()).add(to));
    }
    return found;
  };
  assert.deepEqual(circlesOf(graph(["ab", "bd", "ac", "cd"])), []);
  assert.deepEqual(circlesOf(graph(["ab", "bc", "cb"])), ["b -> c -> b"]);
});

for (const [root, least] of [["src", 200], ["cli", 70]] as const) {
  Deno.test(`no folder of ${root} imports one that imports it`, async () => {
    const imports = await importsOf(await filesOf(root));
    assert.ok(imports.size > least, `found only ${imports.size} files`);
    assert.deepEqual(circlesOf(foldersOf(imports)), []);
  });

  Deno.test(`no file of ${root} imports one that imports it`, async () => {
    assert.deepEqual(circlesOf(await importsOf(await filesOf(root))), []);
  });
}

Deno.test("the program's rooms stand in one order, and import only those below", async () => {
  const order = ["terminal", "settings", "store", "cluster", "serve", "completion", "commands"];
  const rank = (file: string) => order.indexOf(file.split("/")[1]!);
  const imports = await importsOf((await filesOf("cli")).filter((it) => rank(it) >= 0));
  const up = [...imports].flatMap(([file, targets]) =>
    [...targets].filter((it) => it.startsWith("cli/") && rank(it) > rank(file))
      .map((target) => `${file} -> ${target}`)
  );
  assert.deepEqual(up, []);
});

Deno.test("src/core imports nothing from outside it, src nothing of the program or the tests", async () => {
  const imports = await importsOf(await filesOf("src"));
  assert.deepEqual(leadsOut(imports, "src/core/", (it) => !it.startsWith("src/core/")), []);
  const isAbove = (it: string) => !/^(src|migrations)\//.test(it) && it !== "deno.json";
  assert.deepEqual(leadsOut(imports, "src/", isAbove), []);
});

Deno.test("the client imports nothing of the server", async () => {
  const imports = await importsOf(await filesOf("src"));
  assert.deepEqual(leadsOut(imports, "src/client/", (it) => it.startsWith("src/http/")), []);
});

Deno.test("no page imports another page, what they share imports none", async () => {
  const imports = await importsOf(await filesOf("src/web"));
  for (const folder of ["console", "docs", "front", "join", "rooms", "shared"]) {
    const isOfAnother = (it: string) =>
      it.startsWith("src/web/") && !/^src\/web\/shared\//.test(it) &&
      !it.startsWith(`src/web/${folder}/`);
    assert.deepEqual(leadsOut(imports, `src/web/${folder}/`, isOfAnother), []);
  }
});

Deno.test("no folder of src, cli and tests holds more than a dozen files", async () => {
  const counts = new Map<string, number>();
  for (const file of await filesOf("src", "cli", "tests")) {
    const folder = dirname(file);
    // What the program wrote once, kept to be read by every later version.
    if (folder.startsWith("tests/fixtures/")) continue;
    counts.set(folder, (counts.get(folder) ?? 0) + 1);
  }
  assert.deepEqual([...counts].filter(([, count]) => count > FILES_MAX), []);
});
