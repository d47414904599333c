/**
 * A flood of signed requests from a process of its own: so many a second begin, whether or not the
 * earlier ones were answered. `flood.ts '{"port": …}'` prints what came of them as JSON.
 *
 * The requests are signed before the clock starts and written to bare sockets, so that the flood costs
 * less than answering it.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { createConnection, type Socket } from "node:net";
import { digestOf, signRequest } from "../../../src/signature/mod.ts";
import { createClient, type Identity, identityFromSeed } from "../../../src/client/mod.ts";

/** What to send. */
export interface Flood {
  port: number;
  /** Requests a second. */
  rate: number;
  seconds: number;
  /** Most connections at once; where all wait for answers, a request is not sent. */
  connections: number;
  /** `GET /v1/me`, or `POST /v1/invites`. */
  what: "read" | "write";
  /** Also asked four times a second, on a connection of its own. */
  probe?: string;
}

/** What came of it. */
export interface Flooded {
  /** Requests sent, and seconds that took. */
  sent: number;
  seconds: number;
  /** Answers by status. */
  status: Record<string, number>;
  /** Connections that ended without the answer. */
  cut: number;
  /** Requests that found no connection free. */
  unsent: number;
  /** Answers that are not what they should be: another body, or a 503 without `Retry-After`. */
  wrong: number;
  /** Milliseconds until the answer: of those accepted, of those shed, of the probe. */
  accepted: Latency;
  shed: Latency;
  probe: Latency & { failed: number };
  /** Milliseconds from the last request on until one is served within 100 ms; null: not in 20 s. */
  recovered: number | null;
}

/** Milliseconds. */
export interface Latency {
  n: number;
  p50: number;
  p99: number;
  max: number;
}

/** Who sends; an admin. */
export function flooder(): Identity {
  return identityFromSeed(createHash("sha256").update("flood").digest());
}

/** One connection, with one request at a time. */
class Line {
  readonly #socket: Socket;
  #text = "";
  #began = 0;
  busy = false;

  constructor(
    port: number,
    onAnswer: (line: Line, answer: { head: string; body: string; ms: number }) => void,
    onEnd: (line: Line) => void,
  ) {
    this.#socket = createConnection(port, "127.0.0.1");
    this.#socket.setNoDelay(true);
    this.#socket.setEncoding("latin1");
    this.#socket.on("error", () => {});
    this.#socket.on("close", () => onEnd(this));
    this.#socket.on("data", (text: unknown) => {
      this.#text += text;
      const end = this.#text.indexOf("\r\n\r\n");
      if (end < 0) return;
      const head = this.#text.slice(0, end);
      const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? NaN);
      const isWhole = Number.isNaN(length)
        ? this.#text.endsWith("\r\n0\r\n\r\n")
        : this.#text.length >= end + 4 + length;
      if (!isWhole) return;
      const body = this.#text.slice(end + 4);
      this.#text = "";
      this.busy = false;
      onAnswer(this, { head, body, ms: performance.now() - this.#began });
    });
  }

  send(request: string): void {
    this.busy = true;
    this.#began = performance.now();
    this.#socket.write(request);
  }

  end(): void {
    this.#socket.destroy();
  }
}

/** Sends a flood. */
export async function flood(it: Flood): Promise<Flooded> {
  const requests: string[] = [];
  const signer = flooder();
  for (let i = 0; i < it.rate * it.seconds; i++) requests.push(await textOf(it, signer));
  const status: Record<string, number> = {};
  const times = { accepted: [] as number[], shed: [] as number[], probe: [] as number[] };
  let cut = 0;
  let unsent = 0;
  let wrong = 0;
  const answer = it.what === "read" ? signer.signPub : '"token"';
  let probesFailed = 0;
  const idle: Line[] = [];
  const lines = new Set<Line>();
  let isOpening = true;
  const open = () => {
    const line = new Line(it.port, (line, { head, body, ms }) => {
      if (isOpening) return void idle.push(line);
      const code = head.slice(9, 12);
      status[code] = (status[code] ?? 0) + 1;
      (code === "503" ? times.shed : times.accepted).push(ms);
      if (!(code === "503" ? isRefusal(head, body) : body.includes(answer))) wrong++;
      if (/^connection: close$/im.test(head)) line.end();
      else idle.push(line);
    }, (line) => {
      lines.delete(line);
      if (line.busy) cut++;
      const at = idle.indexOf(line);
      if (at >= 0) idle.splice(at, 1);
    });
    lines.add(line);
    return line;
  };
  // Clients keep their connections: to open them all at once is another flood, of the system's queue.
  const hello = `GET /healthz HTTP/1.1\r\nhost: 127.0.0.1:${it.port}\r\n\r\n`;
  while (lines.size < it.connections) {
    if (lines.size - idle.length < 64) open().send(hello);
    else await pause(1);
  }
  while ([...lines].some((line) => line.busy)) await pause(1);
  isOpening = false;
  cut = 0;
  let probing = true;
  const probes = (async () => {
    while (probing && it.probe !== undefined) {
      const began = performance.now();
      const url = `http://127.0.0.1:${it.port}${it.probe}`;
      const ok = await fetch(url).then(async (found) => {
        await found.body?.cancel();
        return found.ok;
      }, () => false);
      if (!ok) probesFailed++;
      times.probe.push(performance.now() - began);
      await pause(250);
    }
  })();
  const began = performance.now();
  let sent = 0;
  let due = 0;
  while (due < requests.length) {
    await pause(2);
    const now = Math.min(requests.length, (performance.now() - began) / 1000 * it.rate);
    for (; due < now; due++) {
      // In turn, so that none is closed for having waited long.
      const line = idle.shift() ?? (lines.size < it.connections ? open() : null);
      if (line === null) unsent++;
      else line.send(requests[sent++]!);
    }
  }
  const ended = performance.now();
  const seconds = (ended - began) / 1000;
  const again = await served(it, signer);
  const recovered = again === null ? null : again - ended;
  const patience = performance.now() + 20_000;
  while ([...lines].some((line) => line.busy) && performance.now() < patience) await pause(10);
  cut += [...lines].filter((line) => line.busy).length;
  probing = false;
  await probes;
  for (const line of lines) {
    line.busy = false;
    line.end();
  }
  return {
    sent,
    seconds,
    status,
    cut,
    unsent,
    wrong,
    accepted: latency(times.accepted),
    shed: latency(times.shed),
    probe: { ...latency(times.probe), failed: probesFailed },
    recovered,
  };
}

async function textOf({ what, port }: Flood, signer: Identity): Promise<string> {
  const method = what === "read" ? "GET" : "POST";
  const path = what === "read" ? "/v1/me" : "/v1/invites";
  const body = what === "read" ? null : "{}";
  const host = `127.0.0.1:${port}`;
  const digest = body === null ? {} : { digest: digestOf(new TextEncoder().encode(body)) };
  const signed = await signRequest({ method, url: `http://${host}${path}`, ...digest }, signer);
  const headers: Record<string, string> = {
    host,
    ...signed,
    ...(body === null
      ? {}
      : { "content-type": "application/json", "content-length": String(body.length) }),
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${path} HTTP/1.1\r\n${lines.join("")}\r\n${body ?? ""}`;
}

/** When a request was served as if nothing had been. */
async function served({ port }: Flood, identity: Identity): Promise<number | null> {
  const url = `http://127.0.0.1:${port}`;
  using client = createClient({ url, identity, retries: 0, timeout: 5000 });
  const patience = performance.now() + 20_000;
  while (performance.now() < patience) {
    const began = performance.now();
    const isGood = await client.me().then(() => true, () => false);
    const now = performance.now();
    if (isGood && now - began < 100) return now;
    await pause(10);
  }
  return null;
}

function isRefusal(head: string, body: string): boolean {
  return /^retry-after: [1-9]\d*$/im.test(head) &&
    /^content-type: application\/problem\+json$/im.test(head) &&
    body.includes('"code":"unavailable"');
}

function latency(times: number[]): Latency {
  times.sort((a, b) => a - b);
  const at = (q: number) => times[Math.min(times.length - 1, Math.floor(q * times.length))] ?? 0;
  return { n: times.length, p50: at(0.5), p99: at(0.99), max: at(1) };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

if (import.meta.main) console.log(JSON.stringify(await flood(JSON.parse(Deno.args[0]!))));
