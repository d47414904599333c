/**
 * `/`: what this server is, and the ways in. It runs no script.
 *
 * @module
 */

import { html } from "hono/html";
import type { BusAuth } from "../../core/operations.ts";
import { brand, type Html } from "./brand.ts";

/** A way in: where it leads, relative to the front page. */
interface Way {
  path: string;
  title: string;
  text: string;
  /** What the button says. */
  go: string;
}

const WAYS: readonly Way[] = [
  {
    path: "/rooms",
    title: "Your rooms",
    text: "Read and write messages, with the keys that this browser keeps or with your key file.",
    go: "Sign in",
  },
  {
    path: "/join",
    title: "Invited?",
    text: "Open the link that you were sent, or paste it. Your keys are created in your browser.",
    go: "Join",
  },
  {
    path: "/console",
    title: "Console",
    text: "For admins: users, rooms, invites, and the health of the server.",
    go: "Open the console",
  },
  {
    path: "/docs",
    title: "For programs",
    text: "Every request of the HTTP API, and one to try.",
    go: "Read the API",
  },
];

const OPEN: Readonly<Record<Exclude<BusAuth, "enforce">, string>> = {
  off: "Authentication is off: anyone who can reach this server can do everything.",
  soft: "Authentication is only logged: anyone who can reach this server can do everything.",
};

/**
 * Returns the content.
 *
 * @param paths The pages that this server has
 * @param base The path below which they are
 * @param busAuth Whether it requires signatures
 */
export async function frontPage(
  paths: readonly string[],
  base: string,
  busAuth: BusAuth,
): Promise<Html> {
  const ways = WAYS.filter((it) => paths.includes(it.path));
  return await html`
    ${brand(`${base}/`)}
    <main class="stack">
      <h1>End-to-end encrypted messages</h1>
      <p>
        unibus is a message bus. This server decides who may connect and who is in which room. It passes
        messages on and cannot read them, because only the members of a room have its key.
      </p>
      ${busAuth === "enforce" ? "" : html`
        <div class="notice warn">${OPEN[busAuth]}</div>
      `}
      <ul class="ways">${ways.map(({ path, title, text, go }, i) =>
        html`
          <li class="card">
            <h2>${title}</h2>
            <p class="muted">${text}</p>
            <a class="button ${i === 0 ? "primary" : ""}" href="${base}${path}">${go}</a>
          </li>
        `
      )}</ul>
    </main>
  `;
}
