/**
 * Three machines on loopback addresses: one serves from a file, the others have joined its plan and wait.
 * Each can be killed and started again, and the routes between them can go through links that are cut.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { type CliProcess, cliProcess } from "../../cli/kit.ts";
import { eventsOf, isAlive, readyz, until } from "../../cli/serve/kit.ts";
import { ended as endOf, type First, firstServer, joined } from "../../cli/cluster/kit.ts";
import { freePorts, natsBinary } from "../../helpers/nats.ts";
import { Links } from "../chaos/arena/links.ts";

/** A machine; its process may be dead. */
export interface Machine {
  readonly name: string;
  readonly http: string;
  readonly nats: string;
  readonly db: string;
  /** Its `membershipd`, the latest one. */
  process: CliProcess;
  /** Whether it is being killed; who does it starts it again. */
  isHit: boolean;
  /** Starts it again after it has ended. */
  start(): void;
  /** The process of its nats-server; null while there is none. */
  natsPid(): number | null;
}

/** The machines. */
export interface Place extends AsyncDisposable {
  readonly first: First;
  /** n1, n2, n3. */
  readonly machines: readonly [Machine, Machine, Machine];
  /** Path of the service keys. */
  readonly keys: string;
  /** The routes, if they go through links. */
  readonly links: Links;
  /** What machines said that ended by themselves; they were started again, as a service manager does. */
  readonly ended: string[];
}

/** Starts n1 with what `dir` holds for it, makes the plan, and lets the others join. */
export async function openPlace(dir: string, { cuttable = false } = {}): Promise<Place> {
  const stack = new AsyncDisposableStack();
  try {
    const { path } = await natsBinary();
    const links = stack.use(new Links());
    const first = stack.use(await firstServer(dir));
    const planned = await first.plan();
    assert.equal(planned.code, 0, planned.stdout + planned.stderr);
    const [httpPort, natsPort] = [first.http, first.nats].map((it) => Number(new URL(it).port));
    const ended: string[] = [];
    let closing = false;
    const watch = (it: Machine) => {
      const { process } = it;
      void process.ended.then(({ code, stderr }) => {
        if (closing || it.isHit || it.process !== process) return;
        ended.push(
          `${it.name} ended with ${code}: ${stderr.trim().split("\n").slice(-2).join(" ")}`,
        );
        it.start();
      });
    };
    const machine = (i: number, db: string, env: Record<string, string>): Machine => ({
      name: `n${i}`,
      http: `http://127.0.0.${i}:${httpPort}`,
      nats: `nats://127.0.0.${i}:${natsPort}`,
      db,
      process: first.process,
      isHit: false,
      start() {
        this.process = cliProcess(["serve"], { env });
        this.isHit = false;
        watch(this);
      },
      natsPid() {
        return natsPidOf(this.process);
      },
    });
    const n1 = machine(1, first.db, first.env);
    const [n2, n3] = [2, 3].map((i) => {
      const UNIBUS_DB = `${dir}/n${i}/unibus.db`;
      const env = { UNIBUS_DB, UNIBUS_NATS_SERVER: path, UNIBUS_LOG_FORMAT: "json" };
      return machine(i, UNIBUS_DB, env);
    }) as [Machine, Machine];
    for (const it of [n2, n3]) {
      const result = await joined(`${dir}/${it.name}.join`, `${dir}/${it.name}`);
      assert.equal(result.code, 0, result.stdout + result.stderr);
    }
    const machines = [n1, n2, n3] as const;
    if (cuttable) await throughLinks(links, machines.map((it) => `${it.db}/../node.json`));
    for (const it of [n2, n3]) {
      it.start();
      stack.defer(() => endOf(it.process));
      await it.process.seen(/"event":"waiting"/);
    }
    watch(n1);
    stack.defer(() => endOf(n1.process));
    stack.defer(() => void (closing = true));
    const own = stack.move();
    return {
      first,
      machines,
      keys: `${first.dir}/service-keys.json`,
      links,
      ended,
      [Symbol.asyncDispose]: () => own.disposeAsync(),
    };
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

/** Replaces the routes in the node files by links, from each node to each other one. */
async function throughLinks(links: Links, nodeFiles: string[]): Promise<void> {
  for (const [from, file] of nodeFiles.map((it) => it.replace(/[^/]+\/\.\.\//, "")).entries()) {
    const node = JSON.parse(readFileSync(file, "utf8"));
    const routes: string[] = [];
    for (const route of node.settings.routes as string[]) {
      const [host, target] = route.split(":") as [string, string];
      const to = Number(host.split(".").at(-1)) - 1;
      const [port] = await freePorts(1) as [number];
      await links.open(from, to, port, Number(target), host);
      routes.push(`${host}:${port}`);
    }
    node.settings.routes = routes;
    writeFileSync(file, JSON.stringify(node, null, 2), { mode: 0o600 });
  }
}

function natsPidOf({ pid }: CliProcess): number | null {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ");
    const found = children.filter((it) => it !== "").find((it) =>
      readFileSync(`/proc/${it}/comm`, "utf8").startsWith("nats")
    );
    return found === undefined ? null : Number(found);
  } catch {
    return null;
  }
}

/** Sends a signal to a process, if it is there. */
export function signal(pid: number | null, name: "SIGKILL" | "SIGSTOP" | "SIGCONT"): void {
  if (pid !== null && isAlive(pid)) process.kill(pid, name);
}

/** Waits until a machine says that it is ready. */
export async function ready(it: Machine, timeout = 60_000): Promise<void> {
  const fits = async () => (await readyz(it.http))?.status === 200;
  await until(fits, `readiness of ${it.name}`, timeout).catch((error) => {
    throw new Error(`${error.message}\n${it.process.stderr().split("\n").slice(-15).join("\n")}`);
  });
}

/** The phases of the last journey in a direction, by the log of the server. */
export interface Phase {
  name: string;
  /** When it began, milliseconds since 1970. */
  from: number;
  seconds: number;
}

/** Returns the phases of the last journey in a direction; the end of the last one is not logged. */
export function phasesOf(it: Machine, direction: "grow" | "shrink"): Phase[] {
  const prefix = `${direction}.`;
  const events = eventsOf(it.process.stderr()).filter((it) => it.event.startsWith(prefix))
    .map(({ event, time }) => ({ name: event.slice(prefix.length), from: Date.parse(time) }));
  return events.flatMap(({ name, from }, i) => {
    const next = events[i + 1];
    return next === undefined ? [] : [{ name, from, seconds: (next.from - from) / 1000 }];
  });
}
