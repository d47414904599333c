/**
 * What the documents tell people to type: every command exists with its flags, every link leads
 * somewhere, and the operating guide is gone through from top to bottom.
 *
 * @module
 */

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import config from "../../deno.json" with { type: "json" };
import { cli } from "../cli/kit.ts";
import { natsBinary } from "../helpers/nats.ts";
import { inDir } from "../helpers/sqlite.ts";
import { toolTest } from "../helpers/tools.ts";
import { pages } from "../tools/reference.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const PAGES = ["README.md", ...readdirSync(`${ROOT}docs`).map((it) => `docs/${it}`)]
  .filter((it) => it.endsWith(".md"));

interface Block {
  language: string;
  text: string;
}

const read = (page: string) => readFileSync(join(ROOT, page), "utf8");

function blocksOf(page: string): Block[] {
  const found = read(page).matchAll(/^( *)```(.*)\n([^]*?)^\1```$/gm);
  return [...found].map(([, indent, language, text]) => ({
    language: language!,
    text: text!.replaceAll(new RegExp(`^${indent}`, "gm"), ""),
  }));
}

/** Words as a shell would split them, up to where another command or a comment begins. */
function words(line: string): string[] {
  const found = line.match(/"[^"]*"|'[^']*'|[^\s"']+/g) ?? [];
  const end = found.findIndex((it) => /^[#|&;<>]/.test(it));
  return end === -1 ? found : found.slice(0, end);
}

/** The commands of our program on a page, from all its blocks. */
function commandsOf(page: string): string[][] {
  return blocksOf(page).filter((it) => ["", "sh", "text"].includes(it.language))
    .flatMap(({ text }) => text.replace(/\\\n\s*/g, " ").split("\n"))
    .map((it) => /^\s*(?:deno task )?membershipd (.*)$/.exec(it)?.[1])
    .filter((it) => it !== undefined).map(words);
}

Deno.test("every command in the documents exists, with its flags", async () => {
  const wrong: string[] = [];
  let looked = 0;
  for (const page of PAGES) {
    for (const command of commandsOf(page)) {
      const path: string[] = [];
      for (const word of command) {
        if (!/^[a-z][a-z-]*$/.test(word)) break;
        const { code, stdout } = await cli([...path, word, "--help"]);
        if (code !== 0 || !stdout.startsWith(`Usage: membershipd ${[...path, word].join(" ")}`)) {
          break;
        }
        path.push(word);
      }
      // Without a command it is the server.
      const { stdout: help } = await cli([...path.length === 0 ? ["serve"] : path, "--help"]);
      const shown = `${page}: membershipd ${command.join(" ")}`;
      if (path.length === 0 && command[0]?.startsWith("--") === false) wrong.push(shown);
      for (const flag of command.filter((it) => it.startsWith("--"))) {
        const name = flag.split("=")[0]!;
        if (!new RegExp(`${name}\\b`).test(help)) wrong.push(`${shown}: no ${name}`);
      }
      looked++;
    }
  }
  assert.deepEqual(wrong, []);
  assert.ok(looked > 30, `${looked} commands`);
});

Deno.test("the references are what the routes and doc comments say", async () => {
  for (const [path, text] of await pages()) {
    assert.equal(read(path), text, "deno task reference writes it anew");
  }
});

Deno.test("every task in the documents exists", () => {
  const tasks = Object.keys(config.tasks);
  const wrong: string[] = [];
  for (const page of PAGES) {
    for (const [, name] of read(page).matchAll(/deno(?:@[\d.]+)? task ([a-z][\w:]*)/g)) {
      if (!tasks.includes(name!)) wrong.push(`${page}: ${name}`);
    }
  }
  assert.deepEqual(wrong, []);
});

/** The anchor that a heading gets. */
function anchorOf(heading: string): string {
  return heading.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, "").trim().replace(/\s/g, "-");
}

Deno.test("every link in the documents leads somewhere", () => {
  const anchors = (page: string) =>
    [...read(page).matchAll(/^#+ (.*)$/gm)].map(([, it]) => anchorOf(it!));
  const wrong: string[] = [];
  for (const page of PAGES) {
    const text = read(page).replace(/^```[^]*?^```$/gm, "").replace(/`[^`]*`/g, "");
    for (const [, target] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target!)) continue;
      const [path, anchor] = target!.split("#") as [string, string?];
      const to = path === "" ? page : join(dirname(page), path);
      if (!existsSync(join(ROOT, to))) wrong.push(`${page}: ${target}`);
      else if (anchor !== undefined && to.endsWith(".md") && !anchors(to).includes(anchor)) {
        wrong.push(`${page}: ${target}`);
      }
    }
  }
  assert.deepEqual(wrong, []);
});

/** What gives a command the ports of the documents for itself: a network of its own. */
function ownNetwork(): string[] | null {
  for (const how of [["unshare", "--net"], ["unshare", "--map-root-user", "--net"]]) {
    try {
      execFileSync(how[0]!, [...how.slice(1), "ip", "link", "set", "lo", "up"], {
        stdio: "ignore",
      });
      return how;
    } catch { /* Not here. */ }
  }
  return null;
}

/** A page's `sh` blocks as one script; servers run beside what follows, until the next one. */
function scriptOf(page: string): string {
  const lines = blocksOf(page).filter((it) => it.language === "sh")
    .flatMap(({ text }) => text.replace(/\\\n\s*/g, " ").trim().split("\n"))
    .map((it) => it.startsWith("membershipd serve") ? `serve ${it.slice(18)}` : it);
  return lines.map((it) => `echo '+ ${it.replaceAll("'", "")}'\n${it}`).join("\n");
}

const PRELUDE = `
set -euo pipefail
ip link set lo up
server=
stop() { [ -z "$server" ] || { kill "$server"; wait "$server" || true; }; server=; }
trap stop EXIT
membershipd() { "$DENO" run -A "$MAIN" "$@"; }
deno() { shift 2; membershipd "$@"; }
reached() {
  for _ in $(seq 300); do
    curl --silent --fail --output /dev/null "$1" && return
    sleep 0.1
  done
  cat server.log
  exit 1
}
serve() {
  stop
  "$DENO" run -A "$MAIN" serve "$@" 2>>server.log &
  server=$!
  reached http://127.0.0.1:8470/readyz
}
`;

const ADD = "membershipd user add --create --admin --handle ada --sign-pub " + "a1".repeat(32) +
  " --kex-pub " + "b2".repeat(32);

/** Guides that are gone through, and what their reader has before. */
const GUIDES: Record<string, string> = {
  "docs/operating.md": "",
  "docs/second-copy.md": "",
  "docs/migration.md": `
    ${ADD}
    cat >nats.conf <<'END'
    listen: "127.0.0.1:4222"
    http: "127.0.0.1:8222"
    jetstream { store_dir: "./nats", sync_interval: always }
END
    "$UNIBUS_NATS_SERVER" -c nats.conf 2>server.log &
    server=$!
    reached http://127.0.0.1:8222/healthz`,
  "docs/snapshot-format.md": `
    ${ADD}
    membershipd snapshot export snapshot.ndjson`,
};

const network = ownNetwork();

for (const [page, before] of Object.entries(GUIDES)) {
  toolTest({
    name: `the commands of ${page} work, in their order`,
    // They name ports, so they need a network of their own.
    tools: ["unshare", "ip"],
    why: network === null ? "no network namespace can be made" : null,
    fn: async () => {
      const { path } = await natsBinary();
      await inDir(async (dir) => {
        await writeFile(`${dir}/guide.sh`, `${PRELUDE}${before}\n${scriptOf(page)}\necho whole`);
        const child = spawn(network![0]!, [...network!.slice(1), "bash", `${dir}/guide.sh`], {
          cwd: dir,
          env: {
            ...process.env,
            DENO: Deno.execPath(),
            MAIN: join(ROOT, "cli/main.ts"),
            UNIBUS_NATS_SERVER: path,
            NO_COLOR: "1",
          },
          stdio: ["ignore", "pipe", "pipe"],
        });
        let said = "";
        child.stdout.on("data", (it) => said += it);
        child.stderr.on("data", (it) => said += it);
        const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
        assert.equal(code, 0, said.slice(-3000));
        assert.match(said, /^\+ .*[^]*whole\n/m);
      });
    },
  });
}
