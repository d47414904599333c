/**
 * Listening: `Deno.serve` where only this machine can reach us, a server with bounds elsewhere.
 *
 * The one file of the library that uses `Deno`.
 *
 * @module
 */

import { createPrivateKey, X509Certificate } from "node:crypto";
import { StoreError } from "../../core/errors.ts";
import { listenHint } from "../../core/hints.ts";
import { systemCode } from "../../core/host/system_code.ts";
import { watchLoopDelay } from "../pipeline/loop_delay.ts";
import { within } from "../../core/async/wait.ts";
import { integer } from "../../core/validate.ts";
import { BACKLOG, type Bounds, type Listening, serveHardened } from "./node.ts";
import { notReady } from "./not_ready.ts";
import type { Fetching, HttpServer, ServeOptions } from "./types.ts";

export type { Fetching, HttpServer, ServeOptions } from "./types.ts";

/** Headers above this are never read. */
const MOST_HEADER_BYTES = 65_536;
const GRACE_MS = 5000;
/** How long connections may take to end once nothing is under way on them. */
const CUT_MS = 250;

/** The parts of `Deno` used here; absent in Node. */
interface DenoServe {
  serve(
    options: {
      hostname: string;
      port: number;
      tcpBacklog: number;
      cert?: string;
      key?: string;
      onListen(): void;
      onError(error: unknown): Response;
    },
    handler: (
      request: Request,
      info: { remoteAddr: { hostname?: string }; completed: Promise<void> },
    ) => Promise<Response> | Response,
  ): { addr: { port: number }; finished: Promise<void>; shutdown(): Promise<void> };
}

/**
 * Starts a server for a control plane.
 *
 * @throws {StoreError} `unavailable`: cannot listen there (port in use, no permission, no such address);
 * `invalid`: an option, or a certificate or key that cannot be used; `aborted`: by the signal
 */
export async function serve(plane: Fetching, options: ServeOptions = {}): Promise<HttpServer> {
  const bounds = boundsOf(options);
  const { hostname, port, tls } = bounds;
  const { signal } = options;
  if (signal?.aborted) {
    throw new StoreError("aborted", "Listening was aborted by its signal", {
      cause: signal.reason,
    });
  }
  const deno = (globalThis as { Deno?: DenoServe }).Deno;
  const bare = options.hardened !== true && deno !== undefined;
  let listening: Listening;
  try {
    listening = bare ? serveDeno(deno, plane, bounds) : await serveHardened(plane, bounds);
  } catch (error) {
    throw listenError(error, hostname, port);
  }
  const endWatch = watchLoopDelay();
  let closing: Promise<void> | undefined;
  const close = (graceMs = GRACE_MS) => closing ??= listening.close(graceMs).finally(endWatch);
  const onAbort = () => void close();
  signal?.addEventListener("abort", onAbort, { once: true });
  const shown = hostname.includes(":") ? `[${hostname}]` : hostname;
  const server: HttpServer = {
    url: `${tls ? "https" : "http"}://${shown}:${listening.port}`,
    hostname,
    port: listening.port,
    async close(graceMs) {
      signal?.removeEventListener("abort", onAbort);
      await close(graceMs);
    },
    [Symbol.asyncDispose]: () => server.close(),
  };
  return server;
}

function serveDeno(deno: DenoServe, plane: Fetching, bounds: Bounds): Listening {
  const { hostname, port, tls } = bounds;
  const inFlight = new InFlight();
  const taking = new InFlight();
  let isClosing = false;
  // Each waits by itself: a promise that all of them raced against would keep every answer for good.
  const waiting = new Set<(answer: Response) => void>();
  const server = deno.serve(
    {
      hostname,
      port,
      tcpBacklog: BACKLOG,
      ...tls,
      onListen() {},
      // The client is not told what failed.
      onError: () => new Response("Internal Server Error", { status: 500 }),
    },
    (request, { remoteAddr: { hostname: address }, completed }) => {
      if (isClosing) return notReady("The server is stopping");
      if (tls) inFlight.add(completed);
      // Whether the client goes is not listened for: the signal of a request is aborted by every answer
      // that succeeds, and Deno says so on stderr.
      const answer = plane.fetch(request, address === undefined ? undefined : { address });
      if (!(answer instanceof Promise)) return answer;
      if (request.body !== null) taking.add(answer);
      return new Promise((resolve, reject) => {
        waiting.add(resolve);
        answer.then(resolve, reject).finally(() => waiting.delete(resolve));
      });
    },
  );
  return {
    port: server.addr.port,
    async close(graceMs) {
      const began = performance.now();
      isClosing = true;
      // Not told to stop before: it then takes what has not come of a body away from those who wait
      // for it.
      await settles(graceMs, taking.empty());
      const left = Math.max(1, graceMs - (performance.now() - began));
      const ended = server.shutdown().then(() => server.finished);
      // It also waits for TLS handshakes that never end.
      const answered = tls ? inFlight.empty().then(() => settles(CUT_MS, ended)) : ended;
      if (await settles(left, Promise.race([ended, answered]))) return;
      // Once it shuts down it cannot be told to cut: what waits for an answer gets one, and what
      // still hangs then (a client that does not read) is left behind.
      for (const answer of waiting) answer(stopping());
      await settles(CUT_MS, ended);
    },
  };
}

function stopping(): Response {
  const headers = { connection: "close", "retry-after": "1" };
  return new Response("The server is stopping", { status: 503, headers });
}

/** Counts what is under way. */
class InFlight {
  #count = 0;
  #onEmpty = () => {};

  add(work: Promise<unknown>): void {
    this.#count++;
    const done = () => {
      if (--this.#count === 0) this.#onEmpty();
    };
    work.then(done, done);
  }

  /** Resolves when nothing is. */
  empty(): Promise<void> {
    return new Promise((resolve) => {
      this.#onEmpty = resolve;
      if (this.#count === 0) resolve();
    });
  }
}

/** Whether it settled in time. */
async function settles(ms: number, work: Promise<unknown>): Promise<boolean> {
  return await within(ms, work.then(() => true), () => false);
}

/** What a timer can wait, and more connections than there are ports, at most. */
const MOST = 2 ** 31 - 1;

/** The numbers: default, and most. */
const NUMBERS = {
  port: [0, 65_535],
  maxHeaderBytes: [MOST_HEADER_BYTES, MOST_HEADER_BYTES],
  headersTimeout: [10_000, MOST],
  requestTimeout: [30_000, MOST],
  minBodyRate: [8192, MOST],
  keepAliveTimeout: [5000, MOST],
  maxConnections: [10_000, MOST],
  maxConnectionsPerAddress: [512, MOST],
} as const satisfies { [name in keyof ServeOptions]: readonly [number, number] };

function boundsOf(options: ServeOptions): Bounds {
  const names = Object.keys(NUMBERS) as (keyof typeof NUMBERS)[];
  const numbers = Object.fromEntries(names.map((name) => {
    const [usual, most] = NUMBERS[name];
    return [name, integer(name, options[name] ?? usual, name === "port" ? 0 : 1, most)];
  })) as Record<typeof names[number], number>;
  const { tls } = options;
  if (tls !== undefined) checkTls(tls);
  return {
    ...numbers,
    hostname: options.hostname ?? "127.0.0.1",
    ...(tls === undefined ? {} : { tls: { cert: tls.cert, key: tls.key } }),
  };
}

/** Here and not at the first handshake; the messages never hold the key. */
function checkTls({ cert, key }: { cert: string; key: string }): void {
  const fail = (what: string, cause?: unknown) =>
    new StoreError("invalid", what, { field: "tls", cause });
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(cert);
  } catch (cause) {
    throw fail("The TLS certificate is not a PEM certificate", cause);
  }
  let isPair: boolean;
  try {
    isPair = certificate.checkPrivateKey(createPrivateKey(key));
  } catch {
    throw fail("The TLS key is not a PEM private key");
  }
  if (!isPair) throw fail("The TLS key does not match the certificate");
}

const LISTEN_FAULTS: Readonly<Record<string, string>> = {
  EADDRINUSE: "another program listens there",
  EACCES: "permission denied",
  EADDRNOTAVAIL: "this machine does not have this address",
  EINVAL: "this machine does not have this address",
};

/** Describes why a server cannot listen somewhere. */
export function listenError(error: unknown, hostname: string, port: number): StoreError {
  const code = systemCode(error);
  const why = LISTEN_FAULTS[code] ?? ((error instanceof Error && error.message) || code);
  const where = `Listening on ${hostname}, port ${port}`;
  return new StoreError("unavailable", `${where}: ${why}`, { cause: error, ...listenHint(code) });
}
