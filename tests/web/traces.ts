/// <reference lib="dom" />
/**
 * Every form a private key could leave in, and every place it could leave by.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { exportIdentity, type Identity } from "@unibus/membership/client";
import type { Page } from "playwright-core";
import type { Sent, Visit } from "./browser.ts";

/** The private keys of an identity as text, by the name of the form. Raw bytes are as Latin-1. */
export function tracesOf(identity: Identity): [form: string, trace: string][] {
  const file = JSON.parse(exportIdentity(identity)) as Record<string, string>;
  const traces: [string, string][] = [
    ["nkey seed", new TextDecoder().decode(identity.natsSeed())],
  ];
  for (const field of ["signSeed", "kexSeed"]) {
    // A PKCS#8 key has the same bytes behind others.
    const seed = Buffer.from(file[field]!, "base64url");
    for (const encoding of ["latin1", "hex"] as const) {
      traces.push([`${field} in ${encoding}`, seed.toString(encoding)]);
    }
    for (const encoding of ["base64", "base64url"] as const) {
      // Within other bytes it begins at any of the three of a group.
      for (const at of [0, 1, 2]) {
        const text = Buffer.concat([new Uint8Array(at), seed]).toString(encoding);
        // Padding and the characters that a neighbour would change are left away.
        const inner = text.replace(/=+$/, "").slice(at === 0 ? 0 : at + 1, -1);
        traces.push([`${field} in ${encoding} from byte ${at}`, inner]);
      }
    }
    traces.push([`${field} in HEX`, seed.toString("hex").toUpperCase()]);
    traces.push([`${field} in a list`, [...seed].join(",")]);
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

/** All that left a browser profile, went to its console, or is stored by its page. */
export async function leftBy(
  { page, sent, printed, frames = [] }: Visit & { frames?: readonly Sent[] },
): Promise<Sent[]> {
  const found = (url: string, body: string): Sent => ({ method: "", url, headers: {}, body });
  return [
    ...sent,
    ...frames,
    found("console", printed.join("\n")),
    found("storage", await storedBy(page)),
  ];
}

/** What a page's origin has stored, as text; bytes are as Latin-1, and keys tell whether they can be exported. */
export async function storedBy(page: Page): Promise<string> {
  return await page.evaluate(async () => {
    const found: string[] = [];
    const add = (it: unknown): void => {
      if (it instanceof CryptoKey) found.push(`${it.type} key, extractable: ${it.extractable}`);
      else if (it instanceof ArrayBuffer) add(new Uint8Array(it));
      else if (it instanceof Uint8Array) found.push(String.fromCharCode(...it));
      else if (typeof it === "object" && it !== null) Object.entries(it).flat().forEach(add);
      else found.push(String(it));
    };
    const done = <T>(request: IDBRequest<T>) =>
      new Promise<T>((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
      });
    add([{ ...localStorage }, { ...sessionStorage }, document.cookie, history.state, name]);
    add(await caches.keys());
    for (const { name } of await indexedDB.databases()) {
      const database = await done(indexedDB.open(name!));
      for (const store of database.objectStoreNames) {
        const all = database.transaction(store).objectStore(store);
        add([name, store, await done(all.getAllKeys()), await done(all.getAll())]);
      }
      database.close();
    }
    return found.join("\n");
  });
}

/**
 * Makes what writes to a database of this page wait, as where a disk is slow, until the function that is
 * returned is called.
 */
export async function holdWrites(page: Page, name: string): Promise<() => Promise<void>> {
  const held = await page.evaluateHandle(async (name) => {
    const held = { isHeld: true };
    const database = await new Promise<IDBDatabase>((resolve, reject) => {
      const request = indexedDB.open(name);
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
    const [store] = database.objectStoreNames;
    const all = database.transaction(store!, "readwrite").objectStore(store!);
    // A transaction lasts for as long as it is asked something.
    const again = (): void => {
      if (held.isHeld) all.count().onsuccess = again;
      else database.close();
    };
    again();
    return held;
  }, name);
  return () => held.evaluate((it) => void (it.isHeld = false));
}
