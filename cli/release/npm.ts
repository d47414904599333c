/**
 * `deno task npm`: the package for Node, as a tarball that `npm install` takes.
 *
 * `deno pack` makes the JavaScript and the types. What it does not know is added: the program, which
 * Node versions will do, what the package is; and each dependency in the version that was tested.
 *
 * @module
 */

import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import config from "../../deno.json" with { type: "json" };
import { inWorkspace, main, run } from "./run.ts";

const HELP = `Usage: deno task npm [--out FILE]

Make the package for Node as a tarball.

  --out FILE  where it goes (default: ./local_files/unibus-membership-${config.version}.tgz)`;

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const PARTS = ["deno.json", "deno.lock", "mod.ts", "src", "cli", "migrations", "tests/conformance"];
const TEXTS = ["README.md", "CHANGELOG.md", "LICENSE"];

/** Each package of the import map in its one version. */
function versions(): Map<string, string> {
  const found = Object.values(config.imports).map((it) => /^npm:\/?(@?[^@]+)@([^/]+)/.exec(it));
  return new Map(found.filter((it) => it !== null).map(([, name, version]) => [name!, version!]));
}

/** The package without what only Deno needs. */
async function copyTo(directory: string): Promise<void> {
  for (const part of [...PARTS, ...TEXTS]) {
    await cp(join(ROOT, part), join(directory, part), { recursive: true });
  }
  const own = {
    ...config,
    exports: { ...config.exports, "./cli": "./cli/node.ts" },
    publish: { exclude: ["cli/release", "cli/main.ts", "src/web"] },
  };
  await writeFile(join(directory, "deno.json"), JSON.stringify(own));
}

/** What `deno pack` leaves out of the manifest. */
async function complete(path: string): Promise<void> {
  const made = JSON.parse(await readFile(path, "utf8"));
  const { "./cli": _, ...exports } = made.exports;
  const known = versions();
  const dependencies = Object.fromEntries(
    Object.keys(made.dependencies).map((name) => {
      const version = known.get(name);
      if (version === undefined) throw new Error(`${name} is not in the import map`);
      return [name, version];
    }),
  );
  const manifest = {
    ...made,
    description:
      "The control plane of unibus, an end-to-end-encrypted message bus on NATS: who may " +
      "speak to whom, in SQLite or replicated in JetStream",
    keywords: ["nats", "jetstream", "sqlite", "membership", "control-plane", "end-to-end"],
    engines: { node: ">=24" },
    bin: { membershipd: "./cli/node.js" },
    exports,
    dependencies,
  };
  await writeFile(path, JSON.stringify(manifest, null, 2) + "\n");
}

async function make(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: { out: { type: "string" }, help: { type: "boolean", short: "h" } },
  });
  if (values.help) return console.log(HELP);
  const out = resolve(values.out ?? `local_files/unibus-membership-${config.version}.tgz`);
  await mkdir(dirname(out), { recursive: true });
  await inWorkspace(async (work) => {
    const source = join(work, "source");
    await mkdir(source);
    await copyTo(source);
    console.error("Packing");
    const packed = join(work, "packed.tgz");
    const how = ["pack", "--allow-dirty", "--no-source-maps", "--output", packed];
    await run(Deno.execPath(), how, source);
    await run("tar", ["-xzf", packed, "-C", work], work);
    await complete(join(work, "package", "package.json"));
    // Where the code reads its version.
    const { name, version } = config;
    await writeFile(join(work, "package", "deno.json"), JSON.stringify({ name, version }));
    await cp(join(ROOT, "CHANGELOG.md"), join(work, "package", "CHANGELOG.md"));
    await run("tar", ["-czf", out, "-C", work, "package"], work);
    console.error(out);
  });
}

await main("npm", make);
