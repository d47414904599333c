/**
 * `/docs`: the routes as a page to read. It runs no script and loads nothing.
 *
 * @module
 */

import { html, raw } from "hono/html";
import { WHO } from "../rights/policy.ts";
import { STATUS } from "../../core/status.ts";
import { TITLE } from "../pipeline/problem.ts";
import type { Route } from "../pipeline/route.ts";
import type { JsonSchema } from "../pipeline/schema.ts";

const STYLE = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 0 auto; padding: 1rem; }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; }
section { border-top: 1px solid #8886; padding: .5rem 0; }
h2 { font-size: 1.05rem; margin: .5rem 0; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; padding: .15rem .75rem .15rem 0; }
.method { display: inline-block; min-width: 4.5rem; font-weight: 700; }
`;

/** The page. */
export async function docsPage(routes: readonly Route[]): Promise<string> {
  const page = html`
    <!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>unibus control plane</title>
        <style>${raw(STYLE)}</style>
      </head>
      <body>
        <h1>unibus control plane</h1>
        <p>The same for machines: <a href="openapi.json">openapi.json</a>. Requests are signed by RFC 9421
    with Ed25519 over <code>@method</code>, <code>@authority</code>, <code>@request-target</code> and, where
    there is a body, <code>content-digest</code>; with <code>created</code> (at most 60 seconds old, 5 ahead),
    <code>nonce</code> (new each time), <code>keyid</code> (the public key in hex).</p>
        <nav>
          <ul>${routes.map((it) =>
            html`<li><a href="#${it.id}">${it.method} ${it.path}</a></li>`
          )}</ul>
        </nav>
        <main>${routes.map(section)}</main>
        <section>
          <h2>Errors</h2>
          <p>Problem details (RFC 9457): <code>code</code> is stable, <code>field</code> names what is at fault,
    <code>requestId</code> is in the log.</p>
          <table>
            <thead>
              <tr>
                <th>code</th>
                <th>status</th>
                <th>meaning</th>
              </tr>
            </thead>
            <tbody>${Object.entries(STATUS).map(([code, status]) =>
              html`
                <tr id="code-${code}">
                  <td><code>${code}</code></td>
                  <td>${status}</td>
                  <td>${TITLE[code as keyof typeof TITLE]}</td>
                </tr>
              `
            )}</tbody>
          </table>
        </section>
      </body>
    </html>
  `;
  return String(await page);
}

function section(it: Route) {
  return html`
    <section id="${it.id}">
    <h2><span class="method">${it.method}</span> <code>${it.path}</code></h2>
    <p>${it.summary}</p>
    <p>Who may: ${WHO[it.who]}. Answers ${it.status}.</p>
    ${it.query === undefined ? "" : fields("Query", it.query.json)}
    ${it.body === undefined ? "" : fields("Body", it.body.json)}
    ${it.errors === undefined ? "" : html`<p>Errors: ${
      it.errors.map((code) =>
        html`
          <a href="#code-${code}"><code>${code}</code></a>
        `
      )
    }</p>`}
    </section>
  `;
}

function fields(title: string, json: JsonSchema) {
  const properties = (json.properties ?? {}) as Record<string, JsonSchema>;
  const required = new Set((json.required ?? []) as string[]);
  return html`
    <table>
      <caption>${title}</caption>
      <tbody>${Object.entries(properties).map(([name, it]) =>
        html`
          <tr>
            <td><code>${name}</code>${required.has(name) ? "" : " (optional)"}</td>
            <td>${String(it.type ?? (Array.isArray(it.enum) ? it.enum.join(" or ") : ""))}</td>
            <td>${String(it.description ?? "")}</td>
          </tr>
        `
      )}</tbody>
    </table>
  `;
}
