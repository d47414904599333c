/**
 * Connects to NATS, with one set of timeout and reconnect settings and errors that say what to do.
 *
 * @module
 */

import { callQuietly } from "../../core/async/callback.ts";
import { pause } from "../../core/async/wait.ts";
import { systemCode } from "../../core/host/system_code.ts";
import { errors, type NatsConnection, NatsConnectionImpl } from "@nats-io/transport-node";
import { StoreError, type StoreErrorOptions } from "../../core/errors.ts";
import { counted } from "../../core/text/counted.ts";
import type { NonceSigner } from "../../keys/signers.ts";
import { type NatsAuthenticator, natsAuthenticator } from "./authenticator.ts";
import { reconnectDelay, triedLongestAgo } from "./reconnect.ts";
import { serverUrls, showServers } from "./servers.ts";
import { type SocketOptions, useSocketTransport } from "./transport.ts";
import { nkeyFromSeed, type NkeyPair } from "../../keys/nkey.ts";

/**
 * A connection that the caller opened: the `NatsConnection` of any NATS transport, such as
 * `@nats-io/transport-node` or `@nats-io/transport-deno`. This interface declares only the members
 * that identify one.
 */
export interface Connection {
  /** The server's `INFO`. */
  readonly info?: object;
  /** Reports whether it is closed. */
  isClosed(): boolean;
  /** Closes it. */
  close(): Promise<void>;
}

/** TLS options for connections to the servers. Setting any of them requires TLS. */
export interface TlsOptions {
  /** Path of a PEM file with the certificate authorities to trust instead of the system's. */
  caFile?: string;
  /** The same, as PEM text. */
  ca?: string;
  /** Path of a PEM file with the client's certificate, for mutual TLS. */
  certFile?: string;
  /** Path of a PEM file with the client's private key, for mutual TLS. */
  keyFile?: string;
  /** The host name to verify in the server's certificate, instead of the one in the URL. */
  serverName?: string;
  /** Start with the TLS handshake, for servers configured with `handshake_first`. */
  handshakeFirst?: boolean;
}

/** Options of a NATS connection: servers, TLS and credentials. */
export interface NatsOptions {
  /**
   * URL or URLs, such as `nats://127.0.0.1:4222`, optionally with user and password. A text may contain
   * several, separated by commas.
   */
  servers: string | string[];
  /** TLS options. */
  tls?: TlsOptions;
  /** The key to authenticate with, such as an identity. */
  signer?: NonceSigner;
  /** The nkey seed to authenticate with (`SU…`). */
  nkeySeed?: string;
  /** Content of a `.creds` file: a JWT and its seed. */
  credentials?: string;
  /** Client name, shown in the server's connection list. Default `unibus-membership`. */
  name?: string;
  /** Time in milliseconds to keep trying while no server is reachable. Default 5,000. */
  bootstrapTimeout?: number;
  /**
   * Whether to keep reconnecting after authentication errors once the connection was established.
   * By default the second authentication error in the life of a connection closes it, however long
   * ago the first was; a server also reports one when a client authenticates too slowly.
   */
  retryRefused?: boolean;
  /**
   * Milliseconds between two attempts to reconnect, at most 1.4 times as many. Default 250; less for a
   * server on this machine, which others wait for.
   */
  reconnectWait?: number;
  /**
   * Called when a server asks, during a reconnect, for a signature of something that is not a
   * nonce; it gets none. During the first connect this is an error of the call instead.
   */
  onProblem?: (error: StoreError) => void;
  /** Aborts the connection attempt. */
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
  const { jwt, seed } = partsOf(credentials);
  return natsAuthenticator(signerOf(seed, "credentials"), { jwt, onProblem });
}

function partsOf(credentials: string): { jwt: string; seed: string } {
  const [, jwt, seed] = CREDENTIALS.exec(credentials) ?? [];
  if (jwt !== undefined && seed !== undefined) return { jwt, seed };
  throw new StoreError("invalid", "credentials is not the content of a .creds file", {
    field: "credentials",
  });
}

/**
 * Returns the key pair with which options log in; `null` for none.
 *
 * @throws {StoreError} `invalid`: a seed or credentials are malformed
 */
export function loginKey(
  { nkeySeed, credentials }: Pick<NatsOptions, "nkeySeed" | "credentials">,
): NkeyPair | null {
  if (nkeySeed !== undefined) return nkeyFromSeed(nkeySeed.trim(), "nkeySeed");
  if (credentials === undefined) return null;
  return nkeyFromSeed(partsOf(credentials).seed, "credentials");
}

/** Each part is a line of its own below its title. */
const CREDENTIALS =
  /-{3,}BEGIN NATS USER JWT-{3,}\s+(\S+)\s+-{3,}[^]*?-{3,}BEGIN USER NKEY SEED-{3,}\s+(\S+)\s+-{3,}/;

function signerOf(seed: string, field: string): NonceSigner {
  const { publicKey, signNonce } = nkeyFromSeed(seed, field);
  return { nkey: publicKey, signNonce };
}

/** Extracts user and password from the URLs, because the library does not. */
function splitServers(
  urls: readonly string[],
): { servers: string[]; user?: string; pass?: string } {
  let login: { user?: string; pass?: string } = {};
  const bare = urls.map((url) => {
    const [, scheme = "", user, pass, host = ""] =
      /^([a-z]+:\/\/)?(?:([^:@/]*)(?::([^@/]*))?@)?(.*)$/i.exec(url) ?? [];
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

/** Signs the nonces of the servers during the life of one connection. */
class Proof {
  /** Undefined without a key. */
  readonly authenticator: NatsAuthenticator | undefined;
  /** Whether the connection has been established. */
  isIn = false;
  /** Why the last nonce was not signed. */
  problem: StoreError | null = null;

  constructor(options: NatsOptions) {
    const answer = authenticatorOf(options, (error) => this.problem = error);
    this.authenticator = answer && ((nonce) => {
      const before = this.problem;
      this.problem = null;
      const proof = answer(nonce);
      // Report it once, not at every reconnect attempt.
      const { problem } = this;
      if (problem !== null && before === null && this.isIn) {
        callQuietly(() => options.onProblem?.(problem));
      }
      return proof;
    });
  }
}

/** Time in milliseconds that our servers wait for the callout before they refuse a client. */
export const LOGIN_MS = 2_000;

function connectionOptions(
  options: NatsOptions,
  authenticator: NatsAuthenticator | undefined,
): SocketOptions {
  const servers = serverUrls(options.servers);
  if (servers.length === 0) {
    throw new StoreError(
      "invalid",
      "servers must be a URL, such as nats://127.0.0.1:4222, or several",
      {
        field: "servers",
      },
    );
  }
  // The library ignores the scheme: `tls://` must not result in a cleartext connection.
  const secure = servers.some((it) => /^tls:\/\//i.test(it));
  const tls = options.tls ?? (secure ? {} : undefined);
  return {
    ...splitServers(servers),
    name: options.name ?? "unibus-membership",
    timeout: 5000,
    // Detect a dead leader after two missed pings, not after four minutes; but not before a server
    // refuses a client that the callout does not answer. The library pings while it logs in, and
    // tries a login that it gave up for a missing answer again only when its timeout is over.
    pingInterval: 0.6 * LOGIN_MS,
    maxPingOut: 2,
    maxReconnectAttempts: -1,
    reconnectToServer: triedLongestAgo,
    ignoreAuthErrorAbort: options.retryRefused ?? false,
    noAsyncTraces: true,
    ...(tls === undefined ? {} : { tls }),
    ...(authenticator === undefined ? {} : { authenticator }),
  };
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (!signal?.aborted) return;
  throw new StoreError("aborted", "Connecting was aborted by the caller's signal", {
    cause: signal.reason,
  });
}

function falseServer(options: NatsOptions, cause: StoreError): StoreError {
  return new StoreError("refused", `Connect to ${showServers(options.servers)}: ${cause.message}`, {
    cause,
  });
}

/** Hint for a server that does not answer. */
const UNREACHABLE = {
  field: "servers",
  hint: "check `servers` and that the server is running; set `bootstrapTimeout` to wait longer",
};

/** Maps a failed attempt to an error, or to `null` when a retry may succeed. */
function explain(error: unknown, options: NatsOptions): StoreError | null {
  const where = showServers(options.servers);
  const code = systemCode(error);
  const text = error instanceof Error ? error.message : String(error);
  const fail = (why: string, more: StoreErrorOptions = UNREACHABLE) =>
    new StoreError("unavailable", `Connect to ${where}: ${why}`, { cause: error, ...more });
  if (error instanceof errors.AuthorizationError || /authorization violation/i.test(text)) {
    return fail("the server does not accept these credentials", {
      field: "credentials",
      hint: "set `signer`, `nkeySeed` or `credentials` of a user known to the server",
    });
  }
  if (error instanceof errors.UserAuthenticationExpiredError) {
    return fail("the credentials have expired");
  }
  if (error instanceof Error && error.name === "NotCapable") return fail(text, {});
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
        ? { field: "tls", hint: "this port does not support TLS: connect without `tls`" }
        : { field: "tls.ca" },
    );
  }
  if (/invalid url|invalid port|protocol|unexpected response/i.test(text)) {
    return fail(`not the address of a NATS server (${text})`);
  }
  return null;
}

/** Default `bootstrapTimeout` in milliseconds: short, so that a wrong URL is reported soon. */
const PATIENCE_MS = 5_000;

/**
 * Connects to NATS and retries within `bootstrapTimeout` while no server is reachable. Errors that
 * a retry cannot fix (credentials, TLS, unknown host) are thrown immediately.
 */
export async function connectNats(options: NatsOptions): Promise<NatsConnection> {
  const proof = new Proof(options);
  const settings = connectionOptions(options, proof.authenticator);
  const { reconnectWait = 250 } = options;
  let connection: NatsConnection | undefined;
  const servers = () => connection?.getServers() ?? [];
  settings.reconnectDelayHandler = reconnectDelay(servers, reconnectWait, 0.4 * reconnectWait);
  const deadline = Date.now() + (options.bootstrapTimeout ?? PATIENCE_MS);
  for (let attempt = 1;; attempt++) {
    throwIfAborted(options.signal);
    /** The socket's error, where the library reports only a timeout. */
    let socketError: Error | undefined;
    settings.onSocketError = (error) => socketError = error;
    useSocketTransport();
    try {
      connection = await NatsConnectionImpl.connect(settings);
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
          `Connect to ${showServers(options.servers)}: ${text || "no answer"} ` +
            `(${counted(attempt, "attempt")})`,
          { cause: error, ...UNREACHABLE },
        );
      }
    }
    if (proof.problem !== null) throw falseServer(options, proof.problem);
    const wait = Math.min(100 * attempt, 1000, Math.max(1, deadline - Date.now()));
    // The next attempt says that it was aborted.
    await pause(wait, options.signal).catch(() => {});
  }
}
