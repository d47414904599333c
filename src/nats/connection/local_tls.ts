/**
 * TLS options for connections to our own nats-server, whose certificate is for a public name while
 * we connect to a local address.
 *
 * @module
 */

import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { StoreError } from "../../core/errors.ts";
import type { TlsOptions } from "./connect.ts";

/** Options of {@link localTls}: paths of PEM files. */
export interface LocalTlsOptions {
  /** The server's certificate, with its chain. */
  cert: string;
  /** The authorities to trust. Default: the certificate itself where it is self-signed, else the system's. */
  ca?: string;
}

/**
 * Creates TLS options that verify our own server by the name in its certificate, at whatever
 * address we connect to it.
 *
 * @throws {StoreError} invalid: the file contains no PEM certificate, or one without a host name
 * @throws {StoreError} unavailable: the file cannot be read
 */
export async function localTls(options: LocalTlsOptions): Promise<TlsOptions> {
  const { cert, ca } = options;
  let pem: string;
  try {
    pem = await readFile(cert, "utf8");
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new StoreError("unavailable", `Read the certificate ${cert}: ${why}`, { cause });
  }
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(pem);
  } catch (cause) {
    throw new StoreError("invalid", `${cert} contains no PEM certificate`, { cause });
  }
  const serverName = nameOf(certificate);
  if (serverName === null) {
    throw new StoreError(
      "invalid",
      `The certificate ${cert} has no host name: it lists neither a DNS name nor an IP address`,
    );
  }
  if (ca !== undefined) return { caFile: ca, serverName };
  const selfSigned = certificate.subject === certificate.issuer &&
    certificate.verify(certificate.publicKey);
  return selfSigned ? { ca: certificate.toString(), serverName } : { serverName };
}

/**
 * Returns a name that the certificate covers: its first DNS name, one matching its wildcard, or its
 * first address.
 */
function nameOf({ subjectAltName }: X509Certificate): string | null {
  const names = (subjectAltName ?? "").split(", ");
  const of = (kind: string) =>
    names.filter((it) => it.startsWith(`${kind}:`)).map((it) => it.slice(kind.length + 1));
  const dns = of("DNS");
  const plain = dns.find((it) => !it.includes("*"));
  // Any covered name works: we only check that the server presents the certificate we configured.
  return plain ?? dns[0]?.replace("*", "unibus") ?? of("IP Address")[0] ?? null;
}
