/**
 * An admin invites somebody over HTTP, and the new user registers: it publishes two public keys, and
 * its private ones never leave it.
 *
 *     deno run -A examples/invite_and_register.ts http://127.0.0.1:8470 ada.json
 *
 * @module
 */

import { readFile, writeFile } from "node:fs/promises";
import process from "node:process";
import {
  createClient,
  createIdentity,
  exportIdentity,
  type Identity,
  importIdentity,
} from "@unibus/membership/client";

/** Invites, and registers a new identity under `handle`. */
export async function inviteAndRegister(
  url: string,
  admin: Identity,
  handle: string,
): Promise<Identity> {
  // On the admin's machine.
  using admins = createClient({ url, identity: admin });
  const { token, invite } = await admins.createInvite({ note: `for ${handle}` });
  console.log(`the token is good until ${invite.expiresAt}, once`);

  // On the new user's machine, which got the token by a way you trust.
  const identity = createIdentity();
  using client = createClient({ url, identity });
  const user = await client.register(token, handle);
  console.log(`${user.handle} is ${user.signPub}`);
  return identity;
}

if (import.meta.main) {
  const [url, file] = process.argv.slice(2);
  if (url === undefined || file === undefined) {
    console.error("Usage: invite_and_register.ts URL ADMINS-KEY-FILE");
    process.exit(2);
  }
  const admin = importIdentity(await readFile(file, "utf8"));
  const identity = await inviteAndRegister(url, admin, "grace");
  await writeFile("grace.json", exportIdentity(identity), { mode: 0o600, flag: "wx" });
  console.log("her keys are in grace.json");
}
