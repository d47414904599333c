/**
 * Connecting to NATS: one set of rules for time-outs and reconnects, errors that say what to do.
 *
 * @module
 */

import { systemCode } from "../../core/host/system_code.ts";
import { errors, type NatsConnection, NatsConnectionImpl } from "@nats-io/transport-node";
import { StoreError, type StoreErrorOptions } from "../../core/errors.ts";
import type { NonceSigner } from "../../keys/signers.ts";
import { type NatsAuthenticator, natsAuthenticator } from "./authenticator.ts";
import { type SocketOptions, useSocketTransport } from "./transport.ts";
import { nkeyFromSeed } from "../../keys/nkey.ts";

/**
 * A connection that the caller made: the `NatsConnection` of any NATS transport, such as
 * `@nats-io/transport-node` or `@nats-io/transport-deno`. Only the parts to tell it by are named here.
 */
export interface Connection {
  /** What the server said of itself. */
  readonly info?: object;
  /** Whether it was closed. */
  isClosed(): boolean;
  /** Closes it. */
  close(): Promise<void>;
}

/** TLS towards the servers. Naming any of these demands TLS. */
export interface TlsOptions {
  /** Path of a PEM file with the certificate authorities to trust instead of the system's. */
  caFile?: string;
  /** The same, as PEM text. */
  ca?: string;
  /** Path of a PEM file with the client's certificate, for mutual TLS. */
  certFile?: string;
  /** Path of a PEM file with the client's private key, for mutual TLS. */
  keyFile?: string;
  /** The name the server's certificate must bear, instead of the one in the URL. */
  serverName?: string;
  /** Begin with the TLS handshake, for servers set to `handshake_first`. */
  handshakeFirst?: boolean;
}

/** Where the servers are and who we are. */
export interface NatsOptions {
  /** URL or URLs, such as `nats://127.0.0.1:4222`; user and password may stand in front of the host. */
  servers: string | string[];
  /** TLS. */
  tls?: TlsOptions;
  /** Our key, such as an identity. */
  signer?: NonceSigner;
  /** Our nkey's seed (`SU…`). */
  nkeySeed?: string;
  /** Text of a `.creds` file: a JWT and its seed. */
  credentials?: string;
  /** Name shown in the server's connection list. Default `unibus-membership`. */
  name?: string;
  /** How long to keep trying when no server listens, milliseconds. Default 5,000. */
  bootstrapTimeout?: number;
  /**
   * Whether to come back however often the server refuses us once we were in. By default the second
   * refusal in the life of a connection closes it, however long ago the first was; and a server also
   * refuses who is too slow to say who it is.
   */
  retryRefused?: boolean;
  /**
   * Called when a server we come back to asks for a signature of what is no nonce, and gets none. At
   * the first connection that is an error of the call.
   */
  onProblem?: (error: StoreError) => void;
  /** Ends the attempt. */
  signal?: AbortSignal;
}

function authenticatorOf(
  { signer, nkeySeed, credentials }: NatsOptions,
  onProblem: (error: StoreError) => void,
): NatsAuthenticator | undefined {
  if (signer !== undefined) return natsAuthenticator(signer, { onProblem });
  if (nkeySeed !== undefined) {
    return natsAuthenticator(signerOf(nkeySeed.trim(), "nkeySeed"), { onProblem });
  }
  if (credentials === undefined) return undefined;
  const [, jwt, seed] = CREDENTIALS.exec(credentials) ?? [];
  if (jwt === undefined || seed === undefined) {
    throw new StoreError("invalid", "credentials is not the text of a .creds file", {
      field: "credentials",
    });
  }
  return natsAuthenticator(signerOf(seed, "credentials"), { jwt, onProblem });
}

/** Both parts stand alone on a line below their titles. */
const CREDENTIALS =
  /-{3,}BEGIN NATS USER JWT-{3,}\s+(\S+)\s+-{3,}[^]*?-{3,}BEGIN USER NKEY SEED-{3,}\s+(\S+)\s+-{3,}/;

function signerOf(seed: string, field: string): NonceSigner {
  const { publicKey, signNonce } = nkeyFromSeed(seed, field);
  return { nkey: publicKey, signNonce };
}

/** Takes user and password out of the URLs, where the library does not look for them. */
function splitServers(
  servers: string | string[],
): { servers: string[]; user?: string; pass?: string } {
  let login: { user?: string; pass?: string } = {};
  const bare = [servers].flat().map((it) => {
    const [, scheme = "", user, pass, host = ""] =
      /^([a-z]+:\/\/)?(?:([^:@/]*)(?::([^@/]*))?@)?(.*)$/i.exec(it) ?? [];
    if (user !== undefined) {
      login = {
        user: decodeURIComponent(user),
        ...(pass === undefined ? {} : { pass: decodeURIComponent(pass) }),
      };
    }
    return scheme + host;
  });
  return { servers: bare, ...login };
}

/** Answers the nonces of servers during the life of one connection. */
class Proof {
  /** Undefined where there is no key. */
  readonly authenticator: NatsAuthenticator | undefined;
  /** Whether we have been let in. */
  isIn = false;
  /** Why the last nonce was not signed. */
  problem: StoreError | null = null;

  constructor(options: NatsOptions) {
    const answer = authenticatorOf(options, (error) => this.problem = error);
    this.authenticator = answer && ((nonce) => {
      const before = this.problem;
      this.problem = null;
      const proof = answer(nonce);
      // Once, not at every try to come back.
      const { problem } = this;
      if (problem !== null && before === null && this.isIn) options.onProblem?.(problem);
      return proof;
    });
  }
}

function connectionOptions(
  options: NatsOptions,
  authenticator: NatsAuthenticator | undefined,
): SocketOptions {
  // The library does not look at the scheme: `tls://` must not end in cleartext.
  const secure = [options.servers].flat().some((it) => /^tls:\/\//i.test(it));
  const tls = options.tls ?? (secure ? {} : undefined);
  return {
    ...splitServers(options.servers),
    name: options.name ?? "unibus-membership",
    timeout: 5000,
    // A dead leader is noticed after two missed pings, not after four minutes.
    pingInterval: 1000,
    maxPingOut: 2,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 250,
    reconnectJitter: 100,
    ignoreAuthErrorAbort: options.retryRefused ?? false,
    noAsyncTraces: true,
    ...(tls === undefined ? {} : { tls }),
    ...(authenticator === undefined ? {} : { authenticator }),
  };
}

/** Server names without user and password, for messages. */
export function showServers(servers: string | string[]): string {
  return [servers].flat().map((it) => it.replace(/(^|\/\/)[^/]*@/, "$1")).join(", ");
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (!signal?.aborted) return;
  throw new StoreError("aborted", "Connecting was aborted by the caller's signal", {
    cause: signal.reason,
  });
}

/** Waits, at most until the caller's signal. */
function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal?.addEventListener("abort", end, { once: true });
  });
}

function falseServer(options: NatsOptions, cause: StoreError): StoreError {
  return new StoreError("refused", `Connect to ${showServers(options.servers)}: ${cause.message}`, {
    cause,
  });
}

/** What to do where nobody answers. */
const UNREACHABLE = {
  field: "servers",
  hint: "check `servers` and that the server runs; `bootstrapTimeout` makes it wait longer",
};

/** What a failed attempt means: worth another one (`null`), or an answer to hand on. */
function explain(error: unknown, options: NatsOptions): StoreError | null {
  const where = showServers(options.servers);
  const code = systemCode(error);
  const text = error instanceof Error ? error.message : String(error);
  const fail = (why: string, more: StoreErrorOptions = UNREACHABLE) =>
    new StoreError("unavailable", `Connect to ${where}: ${why}`, { cause: error, ...more });
  if (error instanceof errors.AuthorizationError || /authorization violation/i.test(text)) {
    return fail("the server does not accept these credentials", {
      field: "credentials",
      hint: "give `signer`, `nkeySeed` or `credentials` of a user that it knows",
    });
  }
  if (error instanceof errors.UserAuthenticationExpiredError) {
    return fail("the credentials have expired");
  }
  if (code === "ENOTFOUND" || /getaddrinfo|name or service not known/i.test(text)) {
    return fail("no such host");
  }
  if (
    /certificate|self.signed|unknown ?ca|UNABLE_TO|tls|handshake|fatal alert|doesn't exist/i.test(
      `${code} ${text}`,
    )
  ) {
    return fail(
      `TLS failed (${text || code}); check the CA and the host name in the server's certificate`,
      text.includes("server does not support 'tls'")
        ? { field: "tls", hint: "this port speaks no TLS: connect without `tls`" }
        : { field: "tls.ca" },
    );
  }
  if (/invalid url|invalid port|protocol|unexpected response/i.test(text)) {
    return fail(`this is no NATS server's address (${text})`);
  }
  return null;
}

/** How long nobody may answer by default, milliseconds: a wrong URL is told soon. */
const PATIENCE_MS = 5_000;

/**
 * Connects, and keeps trying while nothing listens, within `bootstrapTimeout`. What another try
 * cannot mend (credentials, TLS, no such host) is said at once.
 */
export async function connectNats(options: NatsOptions): Promise<NatsConnection> {
  const proof = new Proof(options);
  const settings = connectionOptions(options, proof.authenticator);
  const deadline = Date.now() + (options.bootstrapTimeout ?? PATIENCE_MS);
  for (let attempt = 1;; attempt++) {
    throwIfAborted(options.signal);
    /** What the socket said, where the library only says that time has run out. */
    let socketError: Error | undefined;
    settings.onSocketError = (error) => socketError = error;
    useSocketTransport();
    try {
      const connection = await NatsConnectionImpl.connect(settings);
      if (proof.problem === null) {
        proof.isIn = true;
        return connection;
      }
      await connection.close();
    } catch (failure) {
      if (proof.problem !== null) throw falseServer(options, proof.problem);
      const error = failure instanceof errors.TimeoutError ? socketError ?? failure : failure;
      const verdict = explain(error, options);
      if (verdict !== null) throw verdict;
      if (Date.now() >= deadline) {
        const text = error instanceof Error ? error.message : String(error);
        throw new StoreError(
          "unavailable",
          `Connect to ${showServers(options.servers)}: ${text || "no answer"} (${attempt} tries)`,
          { cause: error, ...UNREACHABLE },
        );
      }
    }
    if (proof.problem !== null) throw falseServer(options, proof.problem);
    const wait = Math.min(100 * attempt, 1000, Math.max(1, deadline - Date.now()));
    await pause(wait, options.signal);
  }
}
