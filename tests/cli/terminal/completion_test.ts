/**
 * The completion scripts, asked in the shells they are for.
 *
 * @module
 */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { cli } from "../kit.ts";
import { inDir } from "../../helpers/sqlite.ts";
import { toolTest } from "../../helpers/tools.ts";

/** What a shell offers at the end of each line. */
type Ask = (dir: string, lines: string[]) => Promise<string[][]>;

/** Runs a program where files with known names are, and nothing of the machine's own settings. */
function call(dir: string, program: string, args: string[]): Promise<string> {
  const env = { PATH: Deno.env.get("PATH")!, HOME: `${dir}/home`, TERM: "dumb", LC_ALL: "C.UTF-8" };
  return new Promise((resolve, reject) => {
    const child = execFile(
      program,
      args,
      { cwd: `${dir}/here`, env, timeout: 60_000, encoding: "utf8" },
      (error, stdout, stderr) =>
        error === null ? resolve(stdout) : reject(new Error(`${error.message}${stdout}${stderr}`)),
    );
    child.stdin!.end();
  });
}

const END = "-- end of offer --";

/** What was printed for each line: its first words, sorted. */
function offers(text: string): string[][] {
  const parts = text.split(`${END}\n`);
  assert.equal(parts.pop(), "", text);
  return parts.map((part) =>
    [...new Set(part.split("\n").filter((it) => it !== "").map((it) => it.split("\t")[0]!))].sort()
  );
}

const quote = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;

/** As readline does: words, with = as one of its own. */
const bash: Ask = async (dir, lines) => {
  const asked = lines.map((line) => {
    const words = line.split(" ").flatMap((it) => it.split(/(=)/)).map(quote);
    // Behind an equals sign nothing has begun; readline then gives the sign itself.
    if (line.endsWith("=")) words.pop();
    return `COMP_WORDS=(${words.join(" ")}); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); _membershipd
      printf '%s\\n' "\${COMPREPLY[@]}" ${quote(END)}`;
  });
  await writeFile(`${dir}/ask.bash`, `set -u; source ${dir}/script\n${asked.join("\n")}\n`);
  return offers(await call(dir, "bash", ["--norc", `${dir}/ask.bash`]));
};

/** In a terminal, with what is offered written to a file. */
const zsh: Ask = async (dir, lines) => {
  await writeFile(`${dir}/home/_membershipd`, await readFile(`${dir}/script`));
  await writeFile(
    `${dir}/inner.zsh`,
    `
fpath=(${dir}/home $fpath)
autoload -Uz compinit && compinit -u -D
zstyle ':completion:*' verbose no
compadd() {
  if [[ \${@[1,(i)(-|--)]} == *-(O|A|D)\\ * ]]; then builtin compadd "$@"; return; fi
  local -a hits
  builtin compadd -A hits "$@"
  (( $#hits )) && print -l -- $hits >>${dir}/offered
  builtin compadd "$@"
}
ended() { print -- ${quote(END)} >>${dir}/offered }
ask() { comppostfuncs=(ended); zle list-choices }
zle -N ask
bindkey '^I' ask
bindkey '^U' kill-whole-line
PS1='ASK> '
`,
  );
  const keys = lines.map((it) => `zpty -w -n z ${quote(it)}$'\\t'$'\\x15'`);
  await writeFile(
    `${dir}/ask.zsh`,
    `zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z 'source ${dir}/inner.zsh'
# Keys that come before the line editor are the terminal's own.
zpty -r z reply '*ASK> ' || exit 1
${keys.join("\n")}
zpty -w z 'print ENDED-$((40 + 2)); exit'
zpty -r z reply '*ENDED-42*'
`,
  );
  await call(dir, "zsh", ["-f", `${dir}/ask.zsh`]);
  return offers(await readFile(`${dir}/offered`, "utf8"));
};

const fish: Ask = async (dir, lines) => {
  const asked = lines.map((it) => `complete -C ${quote(it)}; echo ${quote(END)}`);
  await writeFile(`${dir}/ask.fish`, `source ${dir}/script\n${asked.join("\n")}\n`);
  return offers(await call(dir, "fish", ["--no-config", `${dir}/ask.fish`]));
};

const SHELLS: Record<string, Ask> = { bash, zsh, fish };

/** What is in the directory. */
const HERE = ["notes.txt", "sub dir"];

/** Lines, and what must be offered for them; a function looks at it itself. */
const LINES: [string, string[] | ((found: string[]) => boolean)][] = [
  ["membershipd us", ["user"]],
  ["membershipd migrate", ["migrate-to-kv", "migrate-to-sqlite"]],
  ["membershipd snapshot ", ["diff", "export", "import", "verify"]],
  ["membershipd help snapshot e", ["export"]],
  ["membershipd help cl", ["cluster"]],
  ["membershipd user li", ["list"]],
  ["membershipd user list --lim", ["--limit"]],
  ["membershipd user list --db user --js", ["--json"]],
  ["membershipd user add --role ", ["admin", "user"]],
  ["membershipd user add --role=a", ["admin"]],
  ["membershipd user add --role=", ["admin", "user"]],
  ["membershipd user list --limit ", []],
  ["membershipd user show ", []],
  ["membershipd user list --db ", HERE],
  ["membershipd user list --db=no", ["notes.txt"]],
  ["membershipd snapshot verify no", ["notes.txt"]],
  ["membershipd snapshot diff notes.txt ", HERE],
  ["membershipd cluster import ", ["sub dir"]],
  ["membershipd migrate-to-kv --progress ", ["auto", "bar", "json", "none", "plain"]],
  ["membershipd serve --log-level ", ["debug", "error", "info", "warn"]],
  ["membershipd serve --bus-a", ["--bus-auth"]],
  ["membershipd completion ", ["bash", "fish", "zsh"]],
  // Without a command they are the server's.
  ["membershipd --bus-a", ["--bus-auth"]],
  ["membershipd --bus-auth ", ["enforce", "off", "soft"]],
  ["membershipd --bind 127.0.0.1 --store ", ["jetstream", "sqlite"]],
  ["membershipd nothing ", []],
  ["membershipd ", (it) => it.includes("serve") && it.includes("man") && !it.includes("add")],
];

for (const [shell, ask] of Object.entries(SHELLS)) {
  toolTest({
    name: `completion ${shell}: the shell offers commands, flags, choices and files`,
    tools: [shell],
    fn: async () => {
      await inDir(async (dir) => {
        const { code, stdout } = await cli(["completion", shell]);
        assert.equal(code, 0);
        await writeFile(`${dir}/script`, stdout);
        await mkdir(`${dir}/home`);
        await mkdir(`${dir}/here/sub dir`, { recursive: true });
        await writeFile(`${dir}/here/notes.txt`, "");
        const found = await ask(dir, LINES.map(([line]) => line));
        assert.equal(found.length, LINES.length);
        for (const [i, [line, wanted]] of LINES.entries()) {
          const offered = found[i]!.map((it) => it.replace(/^--[a-z-]+=/, "").replace(/\/$/, ""));
          if (typeof wanted === "function") assert.ok(wanted(offered), `${line}: ${offered}`);
          else assert.deepEqual(offered, wanted, line);
        }
      });
    },
  });
}
