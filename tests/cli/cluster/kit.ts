/**
 * Machines for tests of a planned cluster: loopback addresses with the same ports, each with a
 * directory of its own.
 *
 * @module
 */

import { readFileSync, writeFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { formatJoin, type JoinContent, parseJoin } from "../../../cli/cluster/plan/join_file.ts";
import { openSqlite } from "../../../mod.ts";
import { cli, type CliProcess, cliProcess, documentOf, type Result } from "../kit.ts";
import { eventsOf, isAlive, type LogEvent, until } from "../serve/kit.ts";
import { freePorts, natsBinary } from "../../helpers/nats.ts";
import { person } from "../../helpers/sqlite.ts";

/** A server that serves from one file and is to become n1. */
export interface First extends AsyncDisposable {
  /** The directory of its files. */
  readonly dir: string;
  /** Its SQLite file. */
  readonly db: string;
  /** Its environment, by which commands find it. */
  readonly env: Record<string, string>;
  readonly http: string;
  readonly nats: string;
  readonly natsPort: number;
  /** Its process. */
  readonly process: CliProcess;
  /** Calls a command on its machine. */
  call(...args: string[]): Promise<Result>;
  /** Calls `cluster plan` with these flags. */
  plan(...flags: string[]): Promise<Result>;
}

/** The nodes of the plans of tests. */
export const NODES = ["n1=127.0.0.1", "n2=127.0.0.2", "n3=127.0.0.3"];

/** Starts a server with a user in its file; `more` are lines of its settings file. */
export async function firstServer(dir: string, ...more: string[]): Promise<First> {
  const { path } = await natsBinary();
  const [httpPort, natsPort, clusterPort] = await freePorts(3) as [number, number, number];
  const own = `${dir}/n1`;
  await mkdir(own, { mode: 0o700, recursive: true });
  const db = `${own}/a.db`;
  {
    await using store = openSqlite(db);
    await store.addUser(person("ada"));
  }
  const given = (key: string) => more.some((it) => it.startsWith(`${key} =`));
  await writeFile(
    `${dir}/n1.toml`,
    [
      `db = "${db}"`,
      `storeDir = "${own}/blobs"`,
      `natsStore = "${own}/jetstream"`,
      ...given("httpPort") ? [] : [`httpPort = ${httpPort}`],
      `natsPort = ${natsPort}`,
      `clusterPort = ${clusterPort}`,
      ...given("busAuth") ? [] : ['busAuth = "enforce"'],
      'logFormat = "json"',
      ...more,
    ].join("\n"),
  );
  const env = { UNIBUS_CONFIG: `${dir}/n1.toml`, UNIBUS_NATS_SERVER: path };
  const process = cliProcess(["serve"], { env });
  await process.seen(/"event":"ready"/);
  const call = (...args: string[]) => cli(args, { env });
  const { http, nats } = eventsOf(process.stderr()).find((it) => it.event === "ready")!;
  return {
    dir: own,
    db,
    env,
    http,
    nats,
    natsPort,
    process,
    call,
    plan: (...flags) => call("cluster", "plan", ...NODES, "--out", dir, ...flags),
    [Symbol.asyncDispose]: () => ended(process),
  };
}

/** Calls `join` on another machine, which has no settings of its own. */
export async function joined(file: string, dir: string, ...flags: string[]): Promise<Result> {
  const { path } = await natsBinary();
  return await cli(["join", file, "--dir", dir, "--no-start", ...flags], {
    env: { UNIBUS_NATS_SERVER: path },
  });
}

/** Starts `join` on another machine, which then serves. */
export async function joining(file: string, dir: string): Promise<CliProcess> {
  const { path } = await natsBinary();
  return cliProcess(["join", file, "--dir", dir], {
    env: { UNIBUS_NATS_SERVER: path, UNIBUS_LOG_FORMAT: "json" },
  });
}

/** Ends a server and waits for its nats-server. */
export async function ended(process: CliProcess): Promise<void> {
  const pid = pidOf(process);
  if (isAlive(process.pid)) process.kill("SIGTERM");
  await process.ended;
  if (pid > 0) await until(() => !isAlive(pid), "end of the nats-server");
}

function pidOf(process: CliProcess): number {
  const started = eventsOf(process.stderr()).findLast((it: LogEvent) =>
    it.event === "nats.started"
  );
  return started?.pid ?? 0;
}

/** The findings of a command with `--json`, as `check: message`. */
export function findingsOf(result: Result): string[] {
  return documentOf(result).findings.map(
    (it: { level: string; check: string; message: string }) =>
      `${it.level} ${it.check}: ${it.message}`,
  );
}

/** Writes a `.join` file that differs from what it was, whole in itself. */
export async function changed(
  path: string,
  front: Record<string, string>,
  content: (it: JoinContent) => JoinContent = (it) => it,
): Promise<void> {
  const file = parseJoin(readFileSync(path, "utf8"));
  const { plan, cluster, name, address, createdAt, expiresAt } = file;
  const text = await formatJoin(
    { plan, cluster, name, address, createdAt, expiresAt, ...front },
    content(await file.open()),
    null,
  );
  writeFileSync(path, text);
}
