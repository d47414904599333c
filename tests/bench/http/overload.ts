/**
 * Five times what the server can take: how much of it is answered, how soon, what is refused, and how
 * soon all is as before. The flood and the server are a process each, on the hardened server as
 * strangers reach it.
 *
 * @module
 */

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { testServer } from "../../helpers/nats.ts";
import type { Flood, Flooded } from "./flood.ts";
import type { Plane } from "./overload_child.ts";
import { type Row, whole } from "../table.ts";

const TIMES = 5;
const SECONDS = 5;
const CONNECTIONS = 4000;
/** So many at once keep the server busy, and none of them waits long. */
const AT_CAPACITY = 64;

function script(name: string, argument: unknown): string[] {
  const path = fileURLToPath(new URL(name, import.meta.url));
  return ["run", "-A", "--no-check", path, JSON.stringify(argument)];
}

async function flooded(it: Flood): Promise<Flooded> {
  const { stdout } = await promisify(execFile)(process.execPath, script("flood.ts", it));
  return JSON.parse(stdout);
}

/** Starts a server for the time of some work. */
async function withPlane<T>(plane: Plane, work: (port: number) => Promise<T>): Promise<T> {
  const child = spawn(process.execPath, script("overload_child.ts", plane), {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(child, "close");
  try {
    const line = await createInterface({ input: child.stdout })[Symbol.asyncIterator]().next();
    if (line.done) throw new Error("The server ended");
    return await work(Number(line.value));
  } finally {
    process.kill(child.pid!, "SIGKILL");
    await ended;
  }
}

async function measure(what: Flood["what"], store: Plane["store"], title: string): Promise<Row[]> {
  const flood = { what, seconds: SECONDS, probe: "/healthz" };
  const many = { rate: what === "read" ? 20_000 : 5000, connections: AT_CAPACITY };
  const [calm, it] = await withPlane({ store, hardened: true, sheds: true }, async (port) => {
    await flooded({ ...flood, ...many, port, seconds: 1 });
    // Each connection asks again when it is answered: as many as can be, and no more.
    const calm = await flooded({ ...flood, ...many, port });
    return [calm, await flooded({ ...flood, ...tooMuch(calm), port })];
  });
  const without = await withPlane({ store, hardened: true, sheds: false }, async (port) => {
    await flooded({ ...flood, ...many, port, seconds: 1 });
    return await flooded({ ...flood, ...tooMuch(calm), port });
  });
  const capacity = calm.accepted.n / calm.seconds;
  const strange = Object.keys(it.status).filter((it) => !["200", "201", "503"].includes(it));
  const faults = it.cut + it.wrong + strange.length + it.probe.failed;
  const ms = ({ p50, p99 }: { p50: number; p99: number }) =>
    `${whole(p50)} ms, p99 ${whole(p99)} ms`;
  return [{
    what: `${title} at ${TIMES} times the capacity`,
    found: `${whole(it.accepted.n / it.seconds)}/s answered, ${ms(it.accepted)}`,
    baseline: `capacity ${whole(capacity)}/s, ${AT_CAPACITY} at once, ${ms(calm.accepted)}`,
    ratio: it.accepted.n / it.seconds / capacity,
    // The flood takes its part of the same processor.
    goal: { least: 0.3 },
  }, {
    what: "  p99 of what is answered",
    found: `${whole(it.accepted.p99)} ms`,
    baseline: `without shedding ${ms(without.accepted)}`,
    ratio: it.accepted.p99,
    goal: { most: 2000, unit: " ms" },
  }, {
    what: "  refused with 503",
    found: `${whole(it.shed.n / it.seconds)}/s, ${ms(it.shed)}`,
    baseline: `${whole((it.sent + it.unsent) / it.seconds)}/s due, ${
      whole(it.sent / it.seconds)
    }/s sent: ${whole(CONNECTIONS)} connections, one request at a time on each`,
  }, {
    what: "  wrong answers, other ones or none; /healthz not answered",
    found: `${faults}; /healthz p99 ${whole(it.probe.p99)} ms`,
    ratio: faults,
    goal: { most: 0, unit: "" },
  }, {
    what: "  until a request is served as before",
    found: soon(it),
    baseline: `without shedding ${soon(without)}`,
    ratio: it.recovered ?? Infinity,
    goal: { most: 1000, unit: " ms" },
  }];
}

function soon({ recovered }: Flooded): string {
  return recovered === null ? "more than 20 s" : `${whole(recovered)} ms`;
}

function tooMuch({ accepted, seconds }: Flooded): { rate: number; connections: number } {
  return { rate: Math.round(TIMES * accepted.n / seconds), connections: CONNECTIONS };
}

/** Measures a flood of reads on SQLite, and of writes on a nats-server of one. */
export async function overload(): Promise<Row[]> {
  const directory = await mkdtemp(join(tmpdir(), "unibus-bench-overload-"));
  try {
    const reads = await measure(
      "read",
      { db: join(directory, "unibus.db") },
      "GET /v1/me (processor)",
    );
    await using nats = await testServer();
    const writes = await measure("write", { nats: nats.url }, "POST /v1/invites (store)");
    return [...reads, ...writes];
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

if (import.meta.main) {
  const { table } = await import("../table.ts");
  console.log(table(await overload()));
}
