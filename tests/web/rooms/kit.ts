/// <reference lib="dom" />
/**
 * People who talk in rooms: a real server with its bus, browsers, and programs.
 *
 * @module
 */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import type { BrowserContextOptions, Locator, Page } from "playwright-core";
import { openSqlite, type Store, type UserRole } from "@unibus/membership";
import { createClient, openRooms, type Rooms } from "@unibus/membership/client";
import { type Daemon, daemon, until } from "../../cli/serve/kit.ts";
import { type Look, type Sent, type Visit, visit } from "../browser.ts";
import { type Person, person } from "../console.ts";

/** A server, and its store to add people with. */
export interface House extends AsyncDisposable {
  it: Daemon;
  url: string;
  store: Store;
  /** Adds a user. */
  person(handle: string, role?: UserRole): Promise<Person>;
  /** Opens the rooms of a person in a program. */
  program(who: Person): Promise<Rooms & AsyncDisposable>;
}

/** Starts a server. */
export async function house(args: string[] = []): Promise<House> {
  const dir = mkdtempSync(`${tmpdir()}/unibus-rooms-`);
  const port = args.includes("--ws-port") ? [] : ["--ws-port", "0"];
  const it = await daemon(dir, ["--bus-auth", "enforce", ...port, ...args]);
  const store = openSqlite(`${dir}/a.db`);
  return {
    it,
    url: it.http,
    store,
    person: (handle, role) => person(store, handle, role),
    program: ({ identity }) =>
      openRooms({
        client: createClient({ url: it.http, identity }),
        identity,
        nats: { servers: it.nats },
      }),
    async [Symbol.asyncDispose]() {
      await store.close();
      await it.stop("SIGKILL");
      rmSync(dir, { recursive: true });
    },
  };
}

/** A browser of one person, with what it sent over WebSockets. */
export interface Guest extends Visit {
  /** What was sent over WebSockets, as it left. */
  frames: Sent[];
}

/** Opens a browser and records what leaves it, over WebSockets too. */
export async function guest(look?: Look, options?: BrowserContextOptions): Promise<Guest> {
  const one = await visit(look, options);
  const frames: Sent[] = [];
  const record = (page: Page) =>
    page.on("websocket", (socket) =>
      socket.on("framesent", ({ payload }) => {
        const body = typeof payload === "string" ? payload : payload.toString("latin1");
        frames.push({ method: "WS", url: socket.url(), headers: {}, body });
      }));
  record(one.page);
  one.context.on("page", record);
  return { ...one, frames };
}

/** Opens the page and signs in with a key file; `keep` has the browser keep the key. */
export async function enter(
  page: Page,
  { url }: Pick<House, "url">,
  { file }: Pick<Person, "file">,
  { keep = false } = {},
): Promise<void> {
  await page.goto(`${url}/rooms`);
  if (keep) await page.getByRole("checkbox", { name: /^Keep the key/ }).check();
  await page.getByLabel("Key file", { exact: true }).setInputFiles({
    name: "identity.json",
    mimeType: "application/json",
    buffer: Buffer.from(file),
  });
  await isConnected(page);
}

/** Waits until the page is connected to the bus. */
export async function isConnected(page: Page): Promise<void> {
  await page.getByRole("status").getByText("Connected", { exact: true }).waitFor();
}

/** Creates a room in the page. */
export async function createRoom(page: Page, name: string): Promise<void> {
  await page.getByRole("button", { name: "New room" }).click();
  await page.getByLabel("Name").fill(name);
  await page.getByRole("button", { name: "Create the room" }).click();
  await page.getByRole("heading", { level: 1, name }).waitFor();
}

/** Reads one's card from the page. */
export async function cardFrom(page: Page): Promise<string> {
  await page.getByRole("button", { name: /^You:/ }).click();
  const card = page.getByRole("dialog").getByLabel("Your card", { exact: true });
  await card.getByText("unibus1.").waitFor();
  const text = (await card.innerText()).trim();
  await page.getByRole("button", { name: "Close" }).click();
  return text;
}

/** The owner adds a person by card to the room that is shown. */
export async function add(page: Page, card: string): Promise<void> {
  await page.getByRole("button", { name: /^People/ }).click();
  await page.getByRole("button", { name: "Add a person" }).click();
  await page.getByLabel("Card", { exact: true }).fill(card);
  await page.getByRole("button", { name: "Add", exact: true }).click();
  await page.getByRole("button", { name: "Add a person" }).waitFor();
  await page.getByRole("button", { name: "Close" }).click();
}

/** Accepts the offer of a room. */
export async function accept(page: Page, room: string): Promise<void> {
  await page.getByRole("button", { name: `Join ${room}` }).click();
  await page.getByRole("heading", { level: 1, name: room }).waitFor();
  await page.getByRole("button", { name: /^People/ }).waitFor();
}

/** Says something in the room that is shown, and waits until it was sent; `shown` is a part of its line. */
export async function say(page: Page, text: string, shown: string = text): Promise<void> {
  await page.getByLabel(/^Message to/).fill(text);
  await page.getByRole("button", { name: "Send" }).click();
  await line(page, shown).getByText("Sent", { exact: true }).waitFor();
}

/** The line with a text. */
export function line(page: Page, text: string): Locator {
  return page.getByRole("log").locator(".line", { hasText: text });
}

/** Waits until the line with a text begins so: the name of who said it may come after the line. */
export async function isFrom(page: Page, text: string, begin: RegExp): Promise<void> {
  const shown = line(page, text);
  await until(async () => begin.test(await shown.innerText()), `${begin} before ${text}`);
}

/** Asserts that a text has not come to a page. */
export async function lacks(page: Page, text: string): Promise<void> {
  assert.ok(!(await page.content()).includes(text), `${text} has come to ${page.url()}`);
}
