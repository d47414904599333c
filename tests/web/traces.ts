/**
 * Every form a private key could leave in.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { exportIdentity, type Identity } from "@unibus/membership/client";
import type { Sent } from "./browser.ts";

/** The private keys of an identity as text, by the name of the form. Raw bytes are as Latin-1. */
export function tracesOf(identity: Identity): [form: string, trace: string][] {
  const file = JSON.parse(exportIdentity(identity)) as Record<string, string>;
  const traces: [string, string][] = [
    ["nkey seed", new TextDecoder().decode(identity.natsSeed())],
  ];
  const fronts = { signSeed: "302e020100300506032b6570", kexSeed: "302e020100300506032b656e" };
  for (const [field, front] of Object.entries(fronts)) {
    const seed = Buffer.from(file[field]!, "base64url");
    const pkcs8 = Buffer.concat([Buffer.from(`${front}04220420`, "hex"), seed]);
    for (const [name, bytes] of [["seed", seed], ["PKCS#8", pkcs8]] as const) {
      for (const encoding of ["latin1", "hex", "base64", "base64url"] as const) {
        // Padding and the bits that a neighbour would change are left away.
        const text = bytes.toString(encoding).replace(/=+$/, "");
        const inner = encoding.startsWith("base64") ? text.slice(0, -1) : text;
        traces.push([`${field} as ${name} in ${encoding}`, inner]);
      }
      traces.push([`${field} as ${name} in HEX`, bytes.toString("hex").toUpperCase()]);
      traces.push([`${field} as ${name} in a list`, [...bytes].join(",")]);
    }
  }
  return traces;
}

/**
 * Asserts that of an identity's private keys nothing is in what left a browser, in any form.
 *
 * @param present What must have left: a recording without it would prove nothing. Default: the public keys
 */
export function assertInside(
  sent: readonly Sent[],
  identity: Identity,
  present: readonly string[] = [identity.signPub, identity.kexPub],
): void {
  const left = sent.map(({ method, url, headers, body }) =>
    [method, url, ...Object.entries(headers).flat(), body].join("\n")
  ).join("\n");
  for (const text of present) assert.ok(left.includes(text));
  for (const [form, trace] of tracesOf(identity)) {
    assert.ok(!left.includes(trace), `the private key left the browser: ${form}`);
  }
}
