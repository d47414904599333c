/// <reference lib="dom" />
/**
 * The console in a browser, and a control plane with something in it.
 *
 * @module
 */

import { createHash, randomBytes } from "node:crypto";
import type { Page } from "playwright-core";
import type { Store, User, UserRole } from "@unibus/membership";
import {
  createClient,
  createIdentity,
  exportIdentity,
  type Identity,
} from "@unibus/membership/client";

/** Somebody whose identity can be a file. */
export interface Person {
  identity: Identity;
  handle: string;
  /** The text of the key file. */
  file: string;
}

/** Adds a user. */
export async function person(
  store: Store,
  handle: string,
  role: UserRole = "user",
): Promise<Person> {
  const identity = createIdentity();
  const { signPub, kexPub } = identity;
  await store.addUser({ signPub, kexPub, handle, role });
  return { identity, handle, file: exportIdentity(identity) };
}

/** A key that nobody has, always the same for a name. */
export function keyOf(name: string): string {
  return createHash("sha256").update(name).digest("hex");
}

/** Fills an empty store with many users. */
export async function crowd(store: Store, count: number): Promise<void> {
  const first = ["ada", "bela", "chen", "dora", "emil", "fatou", "goran", "hana", "ivo", "june"];
  const users = Array.from({ length: count }, (_, i): User => ({
    signPub: keyOf(`sign ${i}`),
    kexPub: keyOf(`kex ${i}`),
    handle: `${first[i % first.length]}-${String(i).padStart(5, "0")}`,
    role: i % 97 === 5 ? "admin" : "user",
    status: "active",
    createdAt: new Date(Date.UTC(2026, 0, 1) + i * 3_600_000).toISOString(),
    revokedAt: null,
  }));
  users.sort((a, b) => a.signPub < b.signPub ? -1 : 1);
  await store.restore(users.map((record) => ({ kind: "users", record })));
}

/** Adds a room with sealed keys for all of `members` but `lacking`. */
export async function room(
  store: Store,
  id: string,
  owner: Person,
  members: Person[],
  lacking: Person[] = [],
): Promise<void> {
  const endpointOf = ({ identity: { signPub, kexPub } }: Person) => ({ endpoint: signPub, kexPub });
  await store.createRoom({
    id,
    subject: `room.${id}`,
    owner: endpointOf(owner),
    members: members.map(endpointOf),
    sealedKeys: [owner, ...members].map(({ identity }) => ({
      endpoint: identity.signPub,
      sealedKey: randomBytes(80),
    })),
  });
  // Who comes later has no key until the owner seals one.
  for (const it of lacking) await store.addMember(id, endpointOf(it));
}

/** Names that would do harm, were they anything but text. */
export const HOSTILE: readonly string[] = [
  '<img src=x onerror="fetch(`/stolen`)">',
  "\u202Egnp.exe\u202C رفيق",
  "Z̴̢̧͔a̸l̵g̶o̷ h̸e̸ c̷o̴m̶e̷s̸",
  "👩‍👩‍👧‍👦🏳️‍🌈 family",
  "w".repeat(64),
  "{{constructor.constructor('alert(1)')()}}",
];

/** Opens the console and signs in with a key file. */
export async function signIn(
  page: Page,
  url: string,
  { file }: Pick<Person, "file">,
): Promise<void> {
  await page.goto(`${url}/console`);
  await giveFile(page, file);
  await page.getByRole("navigation", { name: "Console" }).waitFor();
}

/** Chooses a key file. */
export async function giveFile(page: Page, text: string, name = "identity.json"): Promise<void> {
  await page.getByLabel("Key file", { exact: true }).setInputFiles({
    name,
    mimeType: "application/json",
    buffer: Buffer.from(text),
  });
}

/** Goes to a view by its address. */
export async function go(page: Page, place: string, heading: string | RegExp): Promise<void> {
  await page.evaluate((it) => void (location.hash = it), place);
  await page.getByRole("heading", { level: 1, name: heading }).waitFor();
}

/** A client of somebody. */
export function clientOf(url: string, { identity }: Person): ReturnType<typeof createClient> {
  return createClient({ url, identity });
}
