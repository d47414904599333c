/// <reference lib="dom" />
/**
 * A real browser for the tests of the pages: headless Chromium, driven by playwright-core. Where there
 * is none the tests are ignored, and say why.
 *
 * @module
 */

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import axe from "axe-core";
import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  chromium,
  type Page,
} from "playwright-core";
import { findTool, toolTest } from "../helpers/tools.ts";

/** The browser's program: `UNIBUS_CHROMIUM`, or what is on the PATH; null where there is none. */
export const CHROMIUM: string | null = Deno.env.get("UNIBUS_CHROMIUM") ??
  findTool("chromium") ?? findTool("chromium-browser") ?? findTool("google-chrome");

/** Where screenshots go; null: nowhere. */
const SHOTS = Deno.env.get("UNIBUS_SHOTS") ?? null;

let browser: Browser | null = null;

/**
 * A test with a browser, and with other programs where it names some. One browser serves the tests of a
 * file; each visit has a profile of its own.
 */
export function browserTest(name: string, run: () => Promise<void>, tools: string[] = []): void {
  toolTest({
    name,
    tools,
    why: CHROMIUM === null ? "no chromium on the PATH, and UNIBUS_CHROMIUM names none" : null,
    // The browser outlives the test that was the first to need it.
    sanitizeOps: false,
    sanitizeResources: false,
    fn: run,
  });
}

/** Ends the browser; tests do it by themselves. */
export async function close(): Promise<void> {
  await browser?.close();
  browser = null;
}

Deno.test.afterAll(close);

async function launched(): Promise<Browser> {
  return browser ??= await chromium.launch({
    executablePath: CHROMIUM!,
    headless: true,
    timeout: 120_000,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      // Names that are not this machine's to the browser, though they lead here.
      "--host-resolver-rules=MAP *.test 127.0.0.1",
    ],
  });
}

/** The screens that pages are looked at on. */
export const SCREENS = {
  phone: { viewport: { width: 320, height: 640 }, hasTouch: true, deviceScaleFactor: 2 },
  tablet: { viewport: { width: 768, height: 1024 }, hasTouch: true },
  desktop: { viewport: { width: 1280, height: 800 } },
} as const;

/** A screen and a colour scheme. */
export interface Look {
  screen?: keyof typeof SCREENS;
  scheme?: "light" | "dark";
}

/** The looks that are tried: two that have all that differs, or every one with `UNIBUS_SHOTS`. */
export const LOOKS: readonly Required<Look>[] = SHOTS === null
  ? [{ screen: "phone", scheme: "light" }, { screen: "desktop", scheme: "dark" }]
  : (["phone", "tablet", "desktop"] as const).flatMap((screen) =>
    (["light", "dark"] as const).map((scheme) => ({ screen, scheme }))
  );

/**
 * Asserts of the page as it is now that it is accessible and fits, on a phone and a desktop, in light and
 * dark; keeps pictures where they are wanted. Afterwards the page looks as before.
 */
export async function assertLooks(page: Page, name: string): Promise<void> {
  const before = page.viewportSize();
  for (const { screen, scheme } of LOOKS) {
    await page.setViewportSize(SCREENS[screen].viewport);
    await page.emulateMedia({ colorScheme: scheme });
    await assertAccessible(page);
    await assertFits(page);
    await shoot(page, `${name}-${screen}-${scheme}`);
  }
  if (before !== null) await page.setViewportSize(before);
  await page.emulateMedia({ colorScheme: "light" });
}

/** A request that left the browser. */
export interface Sent {
  method: string;
  url: string;
  headers: Record<string, string>;
  body: string;
}

/** A browser profile of one person, and what was seen of it. */
export interface Visit extends AsyncDisposable {
  context: BrowserContext;
  page: Page;
  /** All that left the browser, of every page of the profile. */
  sent: Sent[];
  /** What its scripts wrote to the console. */
  printed: string[];
  /** Violations of the Content-Security-Policy. */
  violations: string[];
  /** Errors that no script caught. */
  errors: string[];
  /**
   * Asserts what holds of every page: it asked no other origin than `origin`, broke no policy, threw
   * no error, has no cookie.
   */
  assertClean(origin: string): Promise<void>;
}

/** Opens a browser profile with one page, closed again by its disposal. */
export async function visit(
  look: Look = {},
  options: BrowserContextOptions = {},
): Promise<Visit> {
  const context = await (await launched()).newContext({
    ...SCREENS[look.screen ?? "desktop"],
    colorScheme: look.scheme ?? "light",
    reducedMotion: "reduce",
    ...options,
  });
  context.setDefaultTimeout(90_000);
  const sent: Sent[] = [];
  const printed: string[] = [];
  const violations: string[] = [];
  const errors: string[] = [];
  context.on("request", (request) => {
    sent.push({
      method: request.method(),
      url: request.url(),
      headers: request.headers(),
      body: request.postDataBuffer()?.toString("latin1") ?? "",
    });
  });
  context.on("weberror", (it) => errors.push(String(it.error())));
  context.on("console", (it) => {
    printed.push(it.text());
    if (/Content.Security.Policy|Trusted ?Type/i.test(it.text())) violations.push(it.text());
  });
  const page = await context.newPage();
  return {
    context,
    page,
    sent,
    printed,
    violations,
    errors,
    async assertClean(origin) {
      const others = sent.filter((it) => new URL(it.url).origin !== new URL(origin).origin)
        .filter((it) => !it.url.startsWith("blob:") && !it.url.startsWith("data:"));
      assert.deepEqual(others.map((it) => it.url), [], "requests to other origins");
      assert.deepEqual(violations, []);
      assert.deepEqual(errors, []);
      assert.deepEqual(await context.cookies(), []);
      assert.deepEqual(sent.filter((it) => it.headers["cookie"] !== undefined), []);
    },
    [Symbol.asyncDispose]: () => context.close(),
  };
}

/** Asserts that axe finds nothing wrong with the page as it is now, for people of any ability. */
export async function assertAccessible(page: Page): Promise<void> {
  // As an expression, which the page's policy does not see: it comes from the debugger.
  if (!await page.evaluate(() => "axe" in globalThis)) await page.evaluate(axe.source);
  const found = await page.evaluate(async () => {
    // deno-lint-ignore no-explicit-any
    const { violations } = await (globalThis as any).axe.run({
      resultTypes: ["violations"],
      preload: false,
      iframes: false,
    });
    // deno-lint-ignore no-explicit-any
    return violations.map((it: any) =>
      // deno-lint-ignore no-explicit-any
      `${it.id} (${it.impact}): ${it.nodes.map((node: any) => node.html).join(" | ")}`
    ) as string[];
  });
  assert.deepEqual(found, [], page.url());
}

/** Asserts that nothing is cut off at the side: the page scrolls in one direction only. */
export async function assertFits(page: Page): Promise<void> {
  const [content, window] = await page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    return [scrollWidth, clientWidth];
  });
  assert.ok(content! <= window!, `${content} px in a window of ${window} px at ${page.url()}`);
}

/** Keeps a picture of the page under `UNIBUS_SHOTS`, where that is set, to be looked at. */
export async function shoot(page: Page, name: string): Promise<void> {
  if (SHOTS === null) return;
  mkdirSync(SHOTS, { recursive: true });
  await page.screenshot({ path: `${SHOTS}/${name}.png`, fullPage: true });
}
