/**
 * Certificates for tests, made here so that the tests need no other program.
 *
 * @module
 */

import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from "node:crypto";
import { Buffer } from "node:buffer";
import { isIPv4 } from "node:net";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { NatsTls } from "../../src/nats/server/config.ts";

/** A certificate and its private key, as PEM. */
export interface PemPair {
  cert: string;
  key: string;
}

/** An authority that signs certificates. */
export interface TestAuthority {
  /** Its certificate, as PEM. */
  cert: string;
  /** Signs a certificate that servers and clients can use, for these host names and addresses. */
  issue(name: string, hosts?: readonly string[]): PemPair;
}

/** PEM files in a directory of their own. */
export interface TestTls extends AsyncDisposable {
  authority: TestAuthority;
  /** The authority's certificate. */
  caFile: string;
  /** The certificate of an authority that signed none of these. */
  otherCaFile: string;
  /** For a server on loopback, which asks clients for no certificate. */
  server: NatsTls;
  /** For a server on loopback, and for routes: the other side must show a certificate. */
  mutual: NatsTls;
  /** A client's certificate. */
  client: { certFile: string; keyFile: string };
}

/** Makes an authority, a server's and a client's certificate. */
export async function testTls(): Promise<TestTls> {
  const directory = await mkdtemp(join(tmpdir(), "unibus-tls-"));
  const save = async (name: string, pem: string) => {
    const path = join(directory, name);
    await writeFile(path, pem, { mode: 0o600 });
    return path;
  };
  const authority = testAuthority("unibus test CA");
  const server = authority.issue("server");
  const client = authority.issue("client", []);
  const caFile = await save("ca.pem", authority.cert);
  const files = {
    cert: await save("server.pem", server.cert),
    key: await save("server.key", server.key),
  };
  return {
    authority,
    caFile,
    otherCaFile: await save("other.pem", testAuthority("another CA").cert),
    server: files,
    mutual: { ...files, ca: caFile, verify: true },
    client: {
      certFile: await save("client.pem", client.cert),
      keyFile: await save("client.key", client.key),
    },
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  };
}

/** Makes an authority with a key of its own. */
export function testAuthority(name: string): TestAuthority {
  const pair = newKey();
  const extensions = [
    extension("551d13", seq(der(0x01, [0xff])), true), // basicConstraints: CA
    extension("551d0f", der(0x03, [1, 0x06]), true), // keyUsage: signs certificates, CRLs
  ];
  return {
    cert: certificate({ subject: name, key: pair.publicKey, issuer: name, extensions }, pair),
    issue(subject, hosts = ["localhost", "127.0.0.1"]) {
      const own = newKey();
      const usages = [1, 2].map((use) => oid(`2b060105050703${use.toString(16).padStart(2, "0")}`));
      const names = hosts.map((host) =>
        isIPv4(host) ? der(0x87, host.split(".").map(Number)) : der(0x82, Buffer.from(host))
      );
      const extensions = [
        extension("551d0f", der(0x03, [7, 0x80]), true), // keyUsage: signs
        extension("551d25", seq(...usages)), // extKeyUsage: server, client
        ...(names.length === 0 ? [] : [extension("551d11", seq(...names))]), // subjectAltName
      ];
      return {
        cert: certificate({ subject, key: own.publicKey, issuer: name, extensions }, pair),
        key: own.privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
      };
    },
  };
}

/** A certificate signed by its own key, for these host names. */
export function selfSigned(name: string, hosts: readonly string[]): PemPair {
  const own = newKey();
  const names = seq(...hosts.map((host) => der(0x82, Buffer.from(host))));
  const extensions = [extension("551d11", names)];
  return {
    cert: certificate({ subject: name, key: own.publicKey, issuer: name, extensions }, own),
    key: own.privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
  };
}

interface KeyPair {
  privateKey: KeyObject;
  publicKey: KeyObject;
}

function newKey(): KeyPair {
  const { privateKey } = generateKeyPairSync("ec", {
    namedCurve: "P-256",
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" },
  });
  const key = createPrivateKey(privateKey);
  return { privateKey: key, publicKey: createPublicKey(key) };
}

interface Contents {
  subject: string;
  key: KeyObject;
  issuer: string;
  extensions: readonly Buffer[];
}

function certificate({ subject, key, issuer, extensions }: Contents, signer: KeyPair): string {
  const day = 86_400_000;
  const ecdsaWithSha256 = seq(oid("2a8648ce3d040302"));
  const signed = seq(
    der(0xa0, der(0x02, [2])), // version 3
    der(0x02, [0x01, ...randomBytes(15)]), // serial number
    ecdsaWithSha256,
    distinguishedName(issuer),
    seq(utcTime(Date.now() - day), utcTime(Date.now() + day)),
    distinguishedName(subject),
    key.export({ type: "spki", format: "der" }),
    der(0xa3, seq(...extensions)),
  );
  const signature = sign("sha256", signed, signer.privateKey);
  const whole = seq(signed, ecdsaWithSha256, der(0x03, [0, ...signature]));
  const lines = whole.toString("base64").replace(/.{64}(?=.)/g, "$&\n");
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
}

function distinguishedName(commonName: string): Buffer {
  return seq(der(0x31, seq(oid("550403"), der(0x0c, Buffer.from(commonName)))));
}

function extension(id: string, value: Buffer, critical = false): Buffer {
  return seq(oid(id), ...(critical ? [der(0x01, [0xff])] : []), der(0x04, value));
}

function utcTime(ms: number): Buffer {
  const digits = new Date(ms).toISOString().replace(/\D/g, "").slice(2, 14);
  return der(0x17, Buffer.from(`${digits}Z`));
}

function oid(hex: string): Buffer {
  return der(0x06, Buffer.from(hex, "hex"));
}

function seq(...parts: readonly Uint8Array[]): Buffer {
  return der(0x30, Buffer.concat(parts));
}

function der(tag: number, content: Uint8Array | readonly number[]): Buffer {
  const body = Buffer.from(content);
  if (body.length < 0x80) return Buffer.from([tag, body.length, ...body]);
  if (body.length < 0x100) return Buffer.from([tag, 0x81, body.length, ...body]);
  return Buffer.from([tag, 0x82, body.length >> 8, body.length & 0xff, ...body]);
}
