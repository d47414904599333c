/**
 * The certificate authority of a cluster, and the certificates of its nodes.
 *
 * @module
 */

// The library for certificates requires it before itself.
import "reflect-metadata";
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  X509Certificate,
  X509CertificateGenerator,
} from "@peculiar/x509";
import { randomBytes } from "node:crypto";
import { isIP } from "node:net";

/** A certificate and its private key, as PEM. */
export interface PemPair {
  /** The certificate. */
  cert: string;
  /** Its private key (PKCS #8). */
  key: string;
}

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const DAY_MS = 86_400_000;
/** Lifetime of an authority and of the certificates for routes, in days. */
export const LONG_DAYS = 3650;
/** Lifetime of a server's certificate in days: some clients accept no longer one. */
export const SERVER_DAYS = 820;

/** Creates the authority of a cluster. */
export async function createAuthority(cluster: string): Promise<PemPair> {
  const keys = await newKeys();
  const cert = await X509CertificateGenerator.createSelfSigned({
    ...common(LONG_DAYS),
    name: [{ CN: [`unibus cluster ${cluster}`] }],
    keys,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
    ],
  });
  return { cert: pem(cert), key: await exported(keys.privateKey) };
}

/**
 * Issues a certificate that a node can present as server and as client.
 *
 * @param authority The authority
 * @param name The node's name
 * @param hosts Its addresses and host names
 * @param days Lifetime in days
 */
export async function issue(
  authority: PemPair,
  name: string,
  hosts: readonly string[],
  days: number,
): Promise<PemPair> {
  const issuer = new X509Certificate(authority.cert);
  const signingKey = await crypto.subtle.importKey(
    "pkcs8",
    PemConverter.decodeFirst(authority.key),
    ALGORITHM,
    false,
    ["sign"],
  );
  const keys = await newKeys();
  const extensions: Extension[] = [
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]),
    new SubjectAlternativeNameExtension(
      [...new Set(hosts)].map((value) => ({
        type: isIP(value) === 0 ? "dns" as const : "ip" as const,
        value,
      })),
    ),
  ];
  const cert = await X509CertificateGenerator.create({
    ...common(days),
    subject: [{ CN: [name] }],
    issuer: issuer.subjectName,
    publicKey: keys.publicKey,
    signingKey,
    extensions,
  });
  return { cert: pem(cert), key: await exported(keys.privateKey) };
}

function common(days: number) {
  const now = Date.now();
  return {
    // Positive and never zero.
    serialNumber: `01${randomBytes(15).toString("hex")}`,
    // Clocks of other machines may be behind.
    notBefore: new Date(now - DAY_MS),
    notAfter: new Date(now + days * DAY_MS),
    signingAlgorithm: ALGORITHM,
  };
}

function newKeys(): Promise<CryptoKeyPair> {
  return crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
}

function pem(certificate: X509Certificate): string {
  return `${certificate.toString("pem")}\n`;
}

async function exported(key: CryptoKey): Promise<string> {
  const bytes = await crypto.subtle.exportKey("pkcs8", key);
  return `${PemConverter.encode(bytes, "PRIVATE KEY")}\n`;
}
