/**
 * What a program told the kernel to do with files, in order, from a log of strace. Every call is seen
 * twice, when it begins and when it has ended, and strace lets no thread go on before it has written
 * that down: a call whose end stands above another's beginning was over by then.
 *
 * @module
 */

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { run } from "../../src/nats/server/exec.ts";

/** What was done to a file, a directory, or a stream such as a socket. */
export type Deed =
  | { kind: "open"; path: string; create: boolean; truncate: boolean; synced: boolean }
  | { kind: "write"; path: string; at: number; data: Uint8Array }
  | { kind: "truncate"; path: string; size: number }
  | { kind: "sync"; path: string }
  | { kind: "rename"; from: string; to: string }
  | { kind: "link"; from: string; to: string }
  | { kind: "unlink"; path: string }
  | { kind: "mkdir"; path: string }
  | { kind: "say"; to: string; data: Uint8Array };

/** A deed and when: places in the log, or seconds when logs of several programs are put together. */
export type Event = Deed & {
  /** The thread. */
  thread: number;
  /** When it began. */
  begin: number;
  /** When it had ended; infinite when it never did. */
  end: number;
};

const CALLS = [
  ...["open", "openat", "creat", "lseek", "write", "writev", "pwrite64", "pwritev", "pwritev2"],
  ...["ftruncate", "truncate", "fallocate", "fsync", "fdatasync", "sync_file_range", "rename"],
  ...["renameat", "renameat2", "link", "linkat", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir"],
  ...["copy_file_range", "sendfile", "sendto", "sendmsg"],
];

/** The command that runs a program and writes what it does to a log. */
export function strace(log: string, ...program: string[]): string[] {
  return [
    ...["strace", "-f", "--seccomp-bpf", "-qq", "-yy", "-xx", "-s", "33554432", "-ttt", "-T"],
    ...["-e", `trace=${CALLS.join(",")}`, "-e", "signal=none", "-o", log, "--", ...program],
  ];
}

/**
 * Writes a program that runs another one under strace, with the same process id: whoever starts it
 * need not know.
 */
export async function tracedProgram(path: string, log: string, program: string): Promise<void> {
  // -D: strace is the grandchild. A log for each process: it may be started to ask its version.
  const words = strace(`${log}.$$`, program).map((it) => it.includes("$$") ? `"${it}"` : `'${it}'`);
  words.splice(1, 0, "-D");
  await writeFile(path, `#!/bin/sh\nexec ${words.join(" ")} "$@"\n`, { mode: 0o755 });
}

/** Why strace cannot be used here, or `null` when it can. */
export async function whyNoStrace(): Promise<string | null> {
  if (process.platform !== "linux") return "strace is for Linux";
  const dir = await mkdtemp(join(tmpdir(), "unibus-strace-"));
  try {
    const log = join(dir, "log");
    const [program, ...args] = strace(log, "true");
    await run(program!, ["-D", ...args], { timeout: 20_000 });
    // It writes its log after the program has ended.
    for (let tries = 0; tries < 100; tries++) {
      if (await readFile(log, "latin1").then((it) => it.includes("open"), () => false)) return null;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return "strace saw nothing of a program";
  } catch (error) {
    return (error as Error).message;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** How a log is read. */
export interface ReadOptions {
  /** Deeds elsewhere are left out; what is said to sockets and pipes stays. */
  root: string;
  /** Whether times are seconds, to compare with other logs, in place of lines. */
  seconds?: boolean;
}

/** Reads a log. */
export async function readTrace(log: string, options: ReadOptions): Promise<Event[]> {
  return parseTrace(await readFile(log, "latin1"), options);
}

/** Reads a log's text. */
export function parseTrace(text: string, { root, seconds = false }: ReadOptions): Event[] {
  const events: Event[] = [];
  const open = new Map<string, { head: string; begin: number }>();
  const offsets = new Map<string, number>();
  const sizes = new Map<string, number>();
  let line = 0;
  const add = (thread: number, call: string, begin: number, end: number) => {
    for (const deed of deedsOf(call, offsets, sizes, root)) {
      events.push({ ...deed, thread, begin, end });
    }
  };
  for (const row of text.split("\n")) {
    line++;
    const [, thread, time, rest] = /^(\d+) +(\d+\.\d+) (.*)$/.exec(row) ?? [];
    if (rest === undefined || rest.startsWith("+++") || rest.startsWith("---")) continue;
    const now = seconds ? Number(time) : line;
    if (rest.endsWith("<unfinished ...>")) {
      open.set(thread!, { head: rest.slice(0, -"<unfinished ...>".length), begin: now });
      continue;
    }
    const resumed = /^<\.\.\. \w+ resumed>/.exec(rest);
    if (resumed !== null) {
      const it = open.get(thread!);
      if (it === undefined) continue;
      open.delete(thread!);
      add(Number(thread), it.head + rest.slice(resumed[0].length), it.begin, now);
      continue;
    }
    const took = Number(/<(\d+\.\d+)>$/.exec(rest)?.[1] ?? 0);
    add(Number(thread), rest, now, seconds ? now + took : line);
  }
  // What was under way when the log ends may or may not have been done.
  for (const [thread, { head, begin }] of open) {
    add(Number(thread), `${head}) = 0 <0>`, begin, Infinity);
  }
  return events.sort((a, b) => a.end - b.end || a.begin - b.begin);
}

const HEX = String.raw`(?:\\x[0-9a-f]{2})*`;
const FD = new RegExp(String.raw`^(\d+)<(${HEX}|[A-Z][A-Za-z0-9]*:${HEX}|[^>]*)>(\(deleted\))?`);
const STRING = new RegExp(`"(${HEX})"(\\.\\.\\.)?`, "g");

function deedsOf(
  call: string,
  offsets: Map<string, number>,
  sizes: Map<string, number>,
  root: string,
): Deed[] {
  const name = /^(\w+)\(/.exec(call)?.[1];
  const tail = call.lastIndexOf(") = ") >= 0 ? call.lastIndexOf(") = ") : call.lastIndexOf(")  = ");
  const args = name === undefined ? "" : call.slice(name.length + 1, tail < 0 ? undefined : tail);
  const result = call.slice(tail).replace(/^\) += /, "");
  const done = Number.parseInt(result, 10);
  if (name === undefined || !(done >= 0)) return [];
  const strings = [...args.matchAll(STRING)].map(([, text, cut]) => {
    if (cut) throw new Error(`strace cut what ${name} wrote`);
    return bytesOf(text!);
  });
  const path = (i: number) => Buffer.from(strings[i]!).toString("utf8");
  const inside = (it: string) => it === root || it.startsWith(`${root}/`);
  const fd = FD.exec(args);
  const file = fd === null ? "" : Buffer.from(bytesOf(fd[2]!)).toString("utf8");
  const key = fd === null ? "" : `${fd[1]} ${file}`;
  const gone = fd?.[3] !== undefined;
  const numbers = args.slice(args.lastIndexOf('"') + 1).match(/-?\d+/g)?.map(Number) ?? [];
  const whole = (): Uint8Array => Buffer.concat(strings).subarray(0, done);
  const wrote = (at: number): Deed[] => {
    if (gone) return [];
    sizes.set(file, Math.max(sizes.get(file) ?? 0, at + done));
    return [{ kind: "write", path: file, at, data: whole() }];
  };
  switch (name) {
    case "open":
    case "openat":
    case "creat": {
      const it = absolute(path(0), args);
      if (!inside(it)) return [];
      const [, opened] = /^(\d+)/.exec(result)!;
      const flag = (word: string) => new RegExp(`\\b${word}\\b`).test(args);
      const truncate = flag("O_TRUNC") || name === "creat";
      if (truncate) sizes.set(it, 0);
      offsets.set(`${opened} ${it}`, flag("O_APPEND") ? NaN : 0);
      const create = flag("O_CREAT") || name === "creat";
      return [{ kind: "open", path: it, create, truncate, synced: flag("O_D?SYNC") }];
    }
    case "lseek":
      if (inside(file)) offsets.set(key, done);
      return [];
    case "write":
    case "writev":
    case "sendto":
    case "sendmsg": {
      if (!inside(file)) return [{ kind: "say", to: `${fd?.[1]}<${fd?.[2]}>`, data: whole() }];
      const known = offsets.get(key) ?? 0;
      const at = Number.isNaN(known) ? sizes.get(file) ?? 0 : known;
      if (!Number.isNaN(known)) offsets.set(key, at + done);
      return wrote(at);
    }
    case "pwrite64":
    case "pwritev":
      return inside(file) ? wrote(numbers.at(-1)!) : [];
    case "ftruncate":
    case "truncate": {
      const it = name === "truncate" ? absolute(path(0), args) : file;
      if (!inside(it) || gone) return [];
      sizes.set(it, numbers.at(-1)!);
      return [{ kind: "truncate", path: it, size: numbers.at(-1)! }];
    }
    case "fsync":
    case "fdatasync":
      return inside(file) && !gone ? [{ kind: "sync", path: file }] : [];
    case "rename":
    case "renameat":
    case "renameat2":
      return inside(path(1)) ? [{ kind: "rename", from: path(0), to: path(1) }] : [];
    case "link":
    case "linkat":
      return inside(path(1)) ? [{ kind: "link", from: path(0), to: path(1) }] : [];
    case "unlink":
    case "unlinkat":
    case "rmdir":
      return inside(path(0)) ? [{ kind: "unlink", path: path(0) }] : [];
    case "mkdir":
    case "mkdirat":
      return inside(path(0)) ? [{ kind: "mkdir", path: path(0) }] : [];
    default:
      if (strings.length > 0 ? inside(path(0)) : inside(file)) {
        throw new Error(`What ${name} does to files is not known here`);
      }
      return [];
  }
}

function absolute(path: string, args: string): string {
  if (path.startsWith("/")) return path;
  const folder = new RegExp(`<(${HEX})>`).exec(args)?.[1];
  return folder === undefined ? path : `${Buffer.from(bytesOf(folder))}/${path}`;
}

function bytesOf(escaped: string): Uint8Array {
  return escaped.startsWith("\\x")
    ? Buffer.from(escaped.replaceAll("\\x", ""), "hex")
    : Buffer.from(escaped, "latin1");
}
