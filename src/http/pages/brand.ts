/**
 * What pages that the server writes have at their top.
 *
 * @module
 */

import { html } from "hono/html";

/** Markup. */
export type Html = Awaited<ReturnType<typeof html>>;

/**
 * The mark and the name, as on the other pages.
 *
 * @param home Where the name leads
 */
export function brand(home: string): Html | Promise<Html> {
  return html`
    <header class="brand">
      <svg class="logo" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
        <rect width="32" height="32" rx="7" />
        <path d="M9 16h14" />
        <circle cx="9" cy="16" r="3" />
        <circle cx="16" cy="16" r="3" />
        <circle cx="23" cy="16" r="3" />
      </svg>
      <a class="brand-name" href="${home}">unibus</a>
    </header>
  `;
}
