import assert from "node:assert/strict";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { cli } from "../kit.ts";
import { inDir } from "../../helpers/sqlite.ts";
import { toolTest } from "../../helpers/tools.ts";

const root = fileURLToPath(new URL("../../../", import.meta.url));

async function call(program: string, args: string[], env: Record<string, string> = {}) {
  const { code, stdout, stderr } = await new Deno.Command(program, { args, env }).output();
  const text = (it: Uint8Array) => new TextDecoder().decode(it);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

/** The words of a page, whatever its lines. */
const words = (text: string) => text.replace(/\s+/g, " ");

Deno.test("the manual tells every command and every flag, as the help does", async () => {
  const { code, stdout, stderr } = await cli(["man"]);
  assert.deepEqual([code, stderr], [0, ""]);
  const page = stdout.replaceAll("\\-", "-").replaceAll("\\fB", "").replaceAll("\\fP", "");
  let told = 0;
  const look = async (path: string[]) => {
    const help = (await cli([...path, "--help"])).stdout;
    const [, list] = /\nCommands:\n((?: {2}.*\n)+)/.exec(help) ?? [];
    const below = [...(list ?? "").matchAll(/^ {2}([a-z-]+)/gm)].map((it) => it[1]!);
    for (const name of below) if (name !== "help") await look([...path, name]);
    if (list !== undefined) return;
    const [, section] = page.split(`\n.SS membershipd ${path.join(" ")}`);
    assert.ok(section !== undefined, `No section about ${path.join(" ")}`);
    const [own] = section.split(/\n\.S[SH] /);
    for (const [, flag] of help.matchAll(/^ {2}(?:-\w, )?(--[a-z-]+)/gm)) {
      assert.match(own!, new RegExp(`${flag}\\b`), `${path.join(" ")} ${flag}`);
      told++;
    }
  };
  await look([]);
  assert.ok(told > 200, String(told));
});

Deno.test("the manual tells every exit code of the help and every variable that the program reads", async () => {
  const { stdout } = await cli(["man"]);
  const help = (await cli(["--help"])).stdout;
  const codes = /\nExit codes:\n([^]*)$/.exec(help)![1]!.trim().split("\n");
  assert.equal(codes.length, 6);
  for (const it of codes) {
    const [, code, meaning] = /^\s*(\d+)\s+(.*)$/.exec(it)!;
    assert.ok(stdout.includes(`.B ${code}\n${meaning}.`), it);
  }
  const names = new Set<string>();
  for (const place of ["cli", "src"]) {
    for (const file of await readdir(`${root}${place}`, { recursive: true })) {
      if (!/\.(ts|sh)$/.test(file)) continue;
      const source = await readFile(`${root}${place}/${file}`, "utf8");
      for (const [, name] of source.matchAll(/(?:env\.|\$\{)(UNIBUS_\w+)/g)) names.add(name!);
    }
  }
  assert.ok(names.has("UNIBUS_NATS_SERVER") && names.has("UNIBUS_CACHE_DIR"));
  for (const it of names) assert.ok(stdout.includes(it), it);
});

toolTest({
  name: "groff reads the manual without a warning",
  tools: ["groff"],
  fn: async () => {
    await inDir(async (dir) => {
      const page = `${dir}/membershipd.8`;
      await writeFile(page, (await cli(["man"])).stdout);
      const read = await call("groff", ["-man", "-ww", "-Tutf8", "-P-c", page]);
      assert.deepEqual([read.code, read.stderr], [0, ""]);
      const broken = await cli(["man"]);
      await writeFile(page, `${broken.stdout}.NOSUCH\n`);
      assert.match((await call("groff", ["-man", "-ww", "-Tutf8", page])).stderr, /NOSUCH/);
    });
  },
});

toolTest({
  name: "man shows the manual",
  tools: ["man", "groff"],
  fn: async () => {
    await inDir(async (dir) => {
      const page = `${dir}/membershipd.8`;
      await writeFile(page, (await cli(["man"])).stdout);
      const env = { MANWIDTH: "100", LC_ALL: "C.UTF-8", MANROFFOPT: "", MAN_KEEP_FORMATTING: "" };
      const shown = await call("man", ["--warnings", "-l", page], env);
      assert.deepEqual([shown.code, shown.stderr], [0, ""]);
      const text = words(shown.stdout);
      // What is copied is as it is on the keyboard.
      assert.match(text, /membershipd user add --admin --handle ada --identity ada\.json/);
      assert.match(text, /membershipd nats path\)" --help/);
      for (const it of ["EXIT STATUS", "ENVIRONMENT", "FILES", "EXAMPLES"]) {
        assert.ok(text.includes(it), it);
      }
    });
  },
});
