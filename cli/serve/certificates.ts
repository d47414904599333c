/**
 * Checks certificates before anything listens, so that mistakes are reported clearly at the start.
 *
 * @module
 */

import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import process from "node:process";
import { systemCode } from "../../src/core/host/system_code.ts";
import { counted } from "../../src/core/text/counted.ts";
import { flagOf, type Key, type Settings } from "../settings/settings.ts";

/** The result of {@link inspect}. */
export interface Inspection {
  /** Errors that prevent the start. */
  problems: string[];
  /** Warnings. */
  warnings: string[];
  /**
   * The certificate and key for HTTP and NATS as PEM; null without TLS or if there is a problem.
   */
  pair: { cert: string; key: string } | null;
  /** The names and addresses in the certificate; null without one. */
  names: string[] | null;
}

const DAY = 86_400_000;
/** A start warns this many days before a certificate expires. */
const SOON_DAYS = 14;

/** Checks every certificate and key in the settings. */
export async function inspect(settings: Settings, now: Date = new Date()): Promise<Inspection> {
  const found: Inspection = { problems: [], warnings: [], pair: null, names: null };
  const own = await inspectPair(settings, "tlsCert", "tlsKey", now, found);
  await inspectPair(settings, "routeTlsCert", "routeTlsKey", now, found);
  for (const key of ["routeTlsCa", "ca"] as const) {
    const pem = await read(settings, key, found);
    if (pem !== null) certificateOf(key, settings[key]!, pem, found);
  }
  if (own !== null) {
    found.names = namesOf(own.certificate);
    if (found.names.length === 0) {
      found.problems.push(
        `--tls-cert ${settings.tlsCert}: has no host name; clients need a DNS name or an address in it`,
      );
    }
    found.pair = { cert: own.cert, key: own.key };
  }
  return found;
}

interface Pair {
  cert: string;
  key: string;
  certificate: X509Certificate;
}

async function inspectPair(
  settings: Settings,
  certKey: Key & `${string}Cert`,
  keyKey: Key & `${string}Key`,
  now: Date,
  found: Inspection,
): Promise<Pair | null> {
  const cert = await read(settings, certKey, found);
  const key = await read(settings, keyKey, found);
  if (key !== null) await refuseOpen(keyKey, String(settings[keyKey]), found);
  if (cert === null || key === null) return null;
  const certificate = certificateOf(certKey, String(settings[certKey]), cert, found);
  const secret = privateKeyOf(keyKey, String(settings[keyKey]), key, found);
  if (certificate === null || secret === null) return null;
  if (!certificate.checkPrivateKey(secret)) {
    found.problems.push(
      `${flagOf(keyKey)} ${settings[keyKey]} is not the private key of ${flagOf(certKey)} ` +
        `${settings[certKey]}; use a matching pair`,
    );
    return null;
  }
  inspectDates(`${flagOf(certKey)} ${settings[certKey]}`, certificate, now, found);
  return { cert, key, certificate };
}

/** Reads the file in a setting; returns null if it is not set or cannot be read. */
async function read(
  settings: Settings,
  key: Key,
  { problems }: Inspection,
): Promise<string | null> {
  const path = settings[key];
  if (typeof path !== "string") return null;
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const code = systemCode(error);
    const why = code === "ENOENT"
      ? "no such file"
      : code === "EACCES" || code === "EPERM"
      ? "permission denied; make it readable for the user that runs membershipd"
      : code === "EISDIR"
      ? "is a directory; specify the PEM file"
      : `cannot be read (${code})`;
    problems.push(`${flagOf(key)} ${path}: ${why}`);
    return null;
  }
}

function certificateOf(key: Key, path: string, pem: string, { problems }: Inspection) {
  try {
    return new X509Certificate(pem);
  } catch {
    problems.push(
      `${
        flagOf(key)
      } ${path}: contains no certificate; it must be PEM, with a BEGIN CERTIFICATE line`,
    );
    return null;
  }
}

function privateKeyOf(
  key: Key,
  path: string,
  pem: string,
  { problems }: Inspection,
): KeyObject | null {
  try {
    return createPrivateKey(pem);
  } catch {
    const what = /ENCRYPTED/.test(pem)
      ? "the key is encrypted; store it without a password, readable only by membershipd"
      : "contains no private key; it must be PEM, with a BEGIN PRIVATE KEY line";
    problems.push(`${flagOf(key)} ${path}: ${what}`);
    return null;
  }
}

async function refuseOpen(key: Key, path: string, { problems }: Inspection): Promise<void> {
  if (process.platform === "win32") return;
  const { mode } = await stat(path);
  if ((mode & 0o007) === 0) return;
  problems.push(
    `${flagOf(key)} ${path}: accessible to all users of this machine; chmod o-rwx ${path}`,
  );
}

function inspectDates(
  what: string,
  { validFromDate, validToDate }: X509Certificate,
  now: Date,
  { problems, warnings }: Inspection,
): void {
  const [from, to] = [validFromDate.getTime(), validToDate.getTime()];
  if (to <= now.getTime()) {
    problems.push(`${what}: expired at ${validToDate.toISOString()}; renew it`);
  } else if (from > now.getTime()) {
    problems.push(
      `${what}: not valid before ${validFromDate.toISOString()}; check this machine's clock`,
    );
  } else if (to - now.getTime() < SOON_DAYS * DAY) {
    const days = Math.floor((to - now.getTime()) / DAY);
    warnings.push(
      `${what}: expires at ${validToDate.toISOString()}, in ${counted(days, "day")}; renew it`,
    );
  }
}

/** Returns the DNS names and addresses in a certificate, in their form in a URL. */
function namesOf({ subjectAltName }: X509Certificate): string[] {
  return (subjectAltName ?? "").split(", ").flatMap((entry) => {
    const [, kind, name = ""] = /^(DNS|IP Address):(.+)$/.exec(entry) ?? [];
    if (kind === undefined) return [];
    return [(name.includes(":") ? `[${name}]` : name).toLowerCase()];
  });
}
