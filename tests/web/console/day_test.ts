/// <reference lib="dom" />
/**
 * An admin's day in the console, against a real server.
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import { openSqlite } from "@unibus/membership";
import { createClient, createIdentity } from "@unibus/membership/client";
import { eventually } from "../../conformance/kit/kit.ts";
import { daemon } from "../../cli/serve/kit.ts";
import { inDir } from "../../helpers/sqlite.ts";
import { browserTest, type Visit, visit } from "../browser.ts";
import { clientOf, go, type Person, person, signIn } from "../console.ts";

browserTest(
  "an admin's day: invite, revoke, restore, promote, delete, a room, the log, and home",
  async () => {
    const dir = await Deno.makeTempDir();
    await using store = openSqlite(`${dir}/a.db`);
    const ada = await person(store, "ada", "admin");
    const carol = await person(store, "carol");
    await using server = await daemon(dir, ["--bus-auth", "enforce"]);
    const url = server.http.replace(/\/$/, "");
    await using it = await visit({}, { permissions: ["clipboard-read", "clipboard-write"] });
    const { page } = it;
    const dialog = page.getByRole("dialog");

    await signIn(page, url, ada);
    await page.getByText("All is well").waitFor();
    await page.getByText("One SQLite file").waitFor();
    const connections = page.locator(".figure").filter({ hasText: "Connections" });
    await connections.getByText("of 0 users").waitFor();

    // An invite, and who used it.
    await page.getByRole("link", { name: "Users", exact: true }).first().click();
    await page.getByRole("link", { name: "Invite someone" }).click();
    await page.getByLabel("Who is it for?").fill("Bob");
    await page.getByRole("button", { name: "Create invite" }).click();
    await page.getByRole("button", { name: "Copy the link" }).click();
    await page.getByText("Copied").waitFor();
    const link = await page.evaluate(() => navigator.clipboard.readText());
    const [, token = ""] = link.split("#");
    assert.equal(link, `${url}/join#${token}`);
    assert.match(token, /^[0-9a-f]{64}$/);
    assert.equal(await page.getByRole("textbox", { name: "Link" }).inputValue(), link);
    const bob = { identity: createIdentity(), handle: "bob" };
    const guest = createClient({ url, identity: bob.identity });
    await guest.register(token, "bob");
    await page.getByText("Used just now by").waitFor();
    await page.getByRole("button", { name: "Done" }).click();
    await dialog.waitFor({ state: "detached" });
    await page.getByText("There are no open invites.").waitFor();
    await page.getByLabel("State").selectOption("used");
    await page.getByRole("row", { name: /Bob/ }).getByRole("link", { name: "bob" }).waitFor();
    assert.equal((await page.content()).includes(token), false, "the token is still in the page");

    // One that is canceled.
    await page.getByRole("link", { name: "New invite" }).click();
    await page.getByLabel("Who is it for?").fill("Mallory");
    await page.getByRole("button", { name: "Create invite" }).click();
    await page.getByRole("button", { name: "Done" }).click();
    await page.getByLabel("State").selectOption("open");
    await page.getByRole("button", { name: "Cancel the invite Mallory" }).click();
    await dialog.getByText("cannot be undone").waitFor();
    await dialog.getByRole("button", { name: "Cancel the invite" }).click();
    await page.getByText("There are no open invites.").waitFor();

    // Found, revoked, restored.
    await page.getByRole("link", { name: "Users", exact: true }).first().click();
    await page.getByLabel("Search").fill("BO");
    await page.getByText("1 user", { exact: true }).waitFor();
    await page.getByRole("button", { name: "Revoke bob" }).click();
    await dialog.getByText("You can undo this").waitFor();
    await dialog.getByRole("button", { name: "Revoke access" }).click();
    await page.getByRole("cell", { name: "revoked" }).waitFor();
    await assert.rejects(guest.me(), { code: "forbidden" });
    await page.getByRole("button", { name: "Restore bob" }).click();
    await dialog.getByRole("button", { name: "Restore access" }).click();
    await page.getByRole("cell", { name: "active" }).waitFor();
    assert.equal((await guest.me()).user?.status, "active");

    // Promoted; then deleted, which asks for the name.
    await page.getByRole("link", { name: "bob" }).click();
    await page.getByRole("heading", { level: 1, name: "bob" }).waitFor();
    await page.getByRole("button", { name: "Make admin" }).click();
    await dialog.getByRole("button", { name: "Make admin" }).click();
    await page.getByRole("button", { name: "Remove admin role" }).waitFor();
    assert.equal((await store.getUser(bob.identity.signPub)).role, "admin");
    await page.getByRole("button", { name: "Delete" }).click();
    const sure = dialog.getByRole("button", { name: "Delete permanently" });
    assert.equal(await sure.getAttribute("aria-disabled"), "true");
    await sure.click({ force: true });
    await dialog.getByLabel(/Type the name/).fill("bo");
    await page.keyboard.press("Enter");
    assert.equal((await store.getUser(bob.identity.signPub)).handle, "bob");
    await dialog.getByLabel(/Type the name/).fill("bob");
    await sure.click();
    await page.getByRole("heading", { level: 1, name: "Users" }).waitFor();
    await assert.rejects(store.getUser(bob.identity.signPub), { code: "not_found" });

    // A room in which somebody lacks the key, until the owner's client hands it out.
    const owner = clientOf(url, carol);
    const sealedKey = randomBytes(64);
    await owner.createRoom({
      id: "ops",
      sealedKeys: [{ endpoint: carol.identity.signPub, sealedKey }],
    });
    const { signPub, kexPub } = ada.identity;
    await owner.addMember("ops", { endpoint: signPub, kexPub });
    await page.getByRole("link", { name: "Rooms", exact: true }).first().click();
    await page.getByText("1 member without").waitFor();
    await page.getByRole("link", { name: "ops" }).click();
    await page.getByText("1 member cannot read new messages").waitFor();
    await page.getByLabel("Show").selectOption("lacking");
    await page.getByRole("row", { name: /ada/ }).getByText("missing").waitFor();
    await owner.putSealedKey({ roomId: "ops", epoch: 1, endpoint: signPub, sealedKey });
    await page.getByText("All members have the current key.").waitFor();

    // The log moves by itself, and knows all of this.
    await page.getByRole("link", { name: "Log", exact: true }).first().click();
    const row = (name: RegExp) => page.getByRole("row", { name }).first();
    for (
      const text of [
        /joined with invite .* as bob/,
        /ada.* revoked /,
        /ada.* restored /,
        /ada.* changed the role of .* to admin/,
        /ada.* deleted bob/,
        /carol.* created room ops/,
        /carol.* gave ada .* the key of room ops \(epoch 1\)/,
      ]
    ) await row(text).waitFor();
    await page.getByRole("button", { name: "Pause" }).click();
    await page.getByRole("button", { name: "Resume" }).waitFor();
    // The page asks again when it has been told.
    const polls = () => it.sent.filter(({ url }) => url.includes("wait=25")).length;
    const before = polls();
    await owner.deleteRoom("ops");
    await eventually("told", () => Promise.resolve(polls() > before));
    assert.equal(await row(/carol.* deleted room ops/).count(), 0);
    await page.getByRole("button", { name: "Resume" }).click();
    await row(/carol.* deleted room ops/).waitFor();
    // What another process does to the same store is told too.
    await store.addUser({ ...publicOf(createIdentity()), handle: "from-elsewhere" });
    await row(/library.* added from-elsewhere .* as user/).waitFor();

    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByRole("heading", { name: "Sign in to the console" }).waitFor();
    const asked = it.sent.length;
    await page.goBack();
    await page.getByRole("heading", { name: "Sign in to the console" }).waitFor();
    assert.deepEqual(it.sent.slice(asked).filter(({ url }) => url.includes("/v1/")), []);

    await it.assertClean(url);
    assertNoSecret(it, ada, token);
    assert.deepEqual(
      await page.evaluate(async () => [
        localStorage.length,
        sessionStorage.length,
        (await indexedDB.databases()).length,
        (await caches.keys()).length,
      ]),
      // The page looks whether the browser or this tab keeps a key: that makes empty databases.
      [0, 0, 2, 0],
    );
    await guest.close();
    await owner.close();
  },
);

function publicOf({ signPub, kexPub }: Person["identity"]): { signPub: string; kexPub: string } {
  return { signPub, kexPub };
}

/** Searches everything that left the browser for a private key in any usual form, and for the token. */
function assertNoSecret(it: Visit, { file }: Person, token: string): void {
  const { signSeed, kexSeed } = JSON.parse(file) as Record<string, string>;
  const left = it.sent.map(({ url, headers, body }) =>
    [url, ...Object.values(headers), body].join("\n")
  ).join("\n");
  for (const seed of [signSeed!, kexSeed!]) {
    const bytes = Buffer.from(seed, "base64url");
    for (const form of ["base64url", "base64", "hex", "latin1"] as const) {
      assert.equal(left.includes(bytes.toString(form)), false, `a private key left as ${form}`);
    }
    assert.equal(left.includes(bytes.toString("hex").toUpperCase()), false);
  }
  assert.equal(left.includes(token), false, "the token left the browser");
  assert.ok(left.includes("/v1/invites"), "nothing was looked at");
}

browserTest(
  "a key that the browser keeps signs in, and stays when one signs out",
  () =>
    inDir(async (dir) => {
      await using store = openSqlite(`${dir}/a.db`);
      await using server = await daemon(dir, ["--bus-auth", "enforce"]);
      const url = server.http.replace(/\/$/, "");
      await using it = await visit();
      const { page } = it;
      await page.goto(`${url}/console`);
      // As the invite page keeps them: the browser's own, not extractable.
      const keys = await page.evaluate(async () => {
        const hexOf = async (key: CryptoKey): Promise<string> =>
          Array.from(
            new Uint8Array(await crypto.subtle.exportKey("raw", key)),
            (byte) => byte.toString(16).padStart(2, "0"),
          ).join("");
        const sign = await crypto.subtle.generateKey("Ed25519", false, [
          "sign",
          "verify",
        ]) as CryptoKeyPair;
        const kex = await crypto.subtle.generateKey("X25519", false, [
          "deriveBits",
        ]) as CryptoKeyPair;
        const row = {
          signPub: await hexOf(sign.publicKey),
          kexPub: await hexOf(kex.publicKey),
          signKey: sign.privateKey,
          kexKey: kex.privateKey,
          handle: "grace",
          registered: true,
          at: new Date().toISOString(),
        };
        const database = await new Promise<IDBDatabase>((resolve, reject) => {
          const request = indexedDB.open("unibus", 1);
          request.onupgradeneeded = () =>
            request.result.createObjectStore("identities", { keyPath: "signPub" });
          request.onsuccess = () => resolve(request.result);
          request.onerror = () => reject(request.error);
        });
        await new Promise((resolve, reject) => {
          const request = database.transaction("identities", "readwrite").objectStore("identities")
            .put(row);
          request.onsuccess = resolve;
          request.onerror = () => reject(request.error);
        });
        database.close();
        return { signPub: row.signPub, kexPub: row.kexPub };
      });
      await page.reload();
      const enter = page.getByRole("button", { name: "Sign in as grace" });
      await enter.click();
      await page.getByText("does not belong to an active user").waitFor();
      await store.addUser({ ...keys, handle: "grace" });
      await enter.click();
      await page.getByText("grace is not an admin here").waitFor();
      await store.setUserRole(keys.signPub, "admin");
      await enter.click();
      await page.getByRole("button", { name: "Sign out" }).waitFor();
      await go(page, "#/users", "Users");
      await page.getByText("you", { exact: true }).waitFor();
      await page.getByRole("button", { name: "Sign out" }).click();
      await enter.waitFor();
      await page.getByRole("button", { name: "Forget grace" }).click();
      await page.getByRole("button", { name: "Forget it" }).click();
      await page.getByText("Forget the key of").waitFor({ state: "detached" });
      await page.reload();
      await page.getByLabel("Key file", { exact: true }).waitFor();
      assert.equal(await enter.count(), 0);
      await it.assertClean(url);
    }),
);
