/**
 * TLS towards our own nats-server, whose certificate is for a public name while we connect to an
 * address of this machine.
 *
 * @module
 */

import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { StoreError } from "../../core/errors.ts";
import type { TlsOptions } from "./connect.ts";

/** What {@link localTls} takes: paths of PEM files. */
export interface LocalTlsOptions {
  /** The server's certificate, with its chain. */
  cert: string;
  /** The authorities to trust. Default: the certificate itself where it is self-signed, else the system's. */
  ca?: string;
}

/**
 * TLS options that verify our own server by the name in its certificate, whatever address we connect
 * to. `invalid` when the file holds no certificate or one without a name, `unavailable` when it cannot
 * be read.
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
    throw new StoreError("invalid", `${cert} holds no certificate in PEM`, { cause });
  }
  const serverName = nameOf(certificate);
  if (serverName === null) {
    throw new StoreError(
      "invalid",
      `The certificate ${cert} is for no host: it has neither a DNS name nor an address`,
    );
  }
  if (ca !== undefined) return { caFile: ca, serverName };
  const selfSigned = certificate.subject === certificate.issuer &&
    certificate.verify(certificate.publicKey);
  return selfSigned ? { ca: certificate.toString(), serverName } : { serverName };
}

/** A name the certificate is for: its first DNS name, one below a wildcard, or its first address. */
function nameOf({ subjectAltName }: X509Certificate): string | null {
  const names = (subjectAltName ?? "").split(", ");
  const of = (kind: string) =>
    names.filter((it) => it.startsWith(`${kind}:`)).map((it) => it.slice(kind.length + 1));
  const dns = of("DNS");
  const plain = dns.find((it) => !it.includes("*"));
  // Any name will do: what counts is that the certificate is the one we gave the server.
  return plain ?? dns[0]?.replace("*", "unibus") ?? of("IP Address")[0] ?? null;
}
