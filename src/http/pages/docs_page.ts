/**
 * `/docs`: the routes as a page to read, and a request to try.
 *
 * @module
 */

import { html, raw } from "hono/html";
import { WHO } from "../rights/policy.ts";
import { STATUS } from "../../core/status.ts";
import { TITLE } from "../pipeline/problem.ts";
import type { Route, RouteGroup } from "../pipeline/route.ts";
import type { JsonSchema } from "../pipeline/schema.ts";
import { brand, type Html } from "./brand.ts";

/** Returns the content. */
export async function docsPage(groups: readonly RouteGroup[]): Promise<Html> {
  return await html`
    ${brand(".")}
    <main class="card sheet stack">
      <h1>HTTP API</h1>
      <p>The same for machines: <a href="openapi.json">openapi.json</a>. Requests are signed according to RFC
    9421 with Ed25519 over <code>@method</code>, <code>@authority</code>, <code>@request-target</code> and,
    if there is a body, <code>content-digest</code>; with <code>created</code> (at most 60 seconds old, 5
    ahead), <code>nonce</code> (new each time) and <code>keyid</code> (the public key in hex). The client
    library and <code>membershipd</code> do this for you.</p>
      <nav aria-label="Requests">
        <ul class="contents">${groups.map(({ id, title, routes }) =>
          html`
            <li>
              <a href="#${id}"><strong>${title}</strong></a>
              <ul>${routes.map((it) =>
                html`<li><a href="#${it.id}"><code>${it.method} ${it.path}</code></a></li>`
              )}</ul>
            </li>
          `
        )}</ul>
      </nav>
      <section class="stack" aria-labelledby="try-title">
        <h2 id="try-title">Try a request</h2>
        <div id="try" data-paths="${tryable(groups).join(" ")}">
          <p><a href="healthz">GET /healthz</a> needs no signature.</p>
        </div>
      </section>
      ${groups.map(groupOf)}
      <section class="stack">
        <h2 id="errors">Errors</h2>
        <p>Problem details (RFC 9457): <code>code</code> is stable, <code>field</code> names what is at fault,
    <code>requestId</code> is in the log.</p>
        ${table(
          "Codes",
          ["code", "status", "meaning"],
          Object.entries(STATUS).map(([code, status]) =>
            html`
              <tr id="code-${code}">
                <td><code>${code}</code></td>
                <td>${status}</td>
                <td>${TITLE[code as keyof typeof TITLE]}</td>
              </tr>
            `
          ),
        )}
      </section>
    </main>
  `;
}

/** Requests that change nothing, need no more than their path, and are answered at once. */
function tryable(groups: readonly RouteGroup[]): string[] {
  const routes = groups.flatMap((it) => it.routes);
  const read = routes.filter((it) =>
    it.method === "GET" && !it.path.includes("{") && !it.waits && !it.streams
  );
  return ["/healthz", ...read.map((it) => it.path)];
}

function groupOf({ id, title, routes }: RouteGroup) {
  return html`
    <section class="group stack" aria-labelledby="${id}">
      <h2 id="${id}">${title}</h2>
      ${routes.map(section)}
    </section>
  `;
}

function section(it: Route) {
  return html`
    <section class="card route stack" id="${it.id}" aria-labelledby="${it.id}-title">
      <h3 id="${it.id}-title"><span class="method">${it.method}</span> <code>${it.path}</code></h3>
      <p>${codeIn(it.summary)}</p>
      <p class="muted small">Allowed for: ${codeIn(WHO[it.who])}. Answers ${it.status}.</p>
      ${it.query === undefined ? "" : fields("Query", it.query.json)}
      ${it.body === undefined ? "" : fields("Body", it.body.json)}
      ${it.errors === undefined ? "" : html`<p class="small">Errors: ${
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
  return table(
    title,
    ["name", "type", "meaning"],
    Object.entries(properties).map(([name, it]) =>
      html`
        <tr>
          <td><code>${name}</code>${required.has(name) ? "" : " (optional)"}</td>
          <td>${String(it.type ?? (Array.isArray(it.enum) ? it.enum.join(" or ") : ""))}</td>
          <td>${codeIn(String(it.description ?? ""))}</td>
        </tr>
      `
    ),
  );
}

/** Text in which names stand between backticks. */
function codeIn(text: string) {
  const [begin, end] = [raw("<code>"), raw("</code>")];
  return text.split("`").map((part, i) => i % 2 === 0 ? part : html`${begin}${part}${end}`);
}

/** A table, which scrolls by itself where it is too wide. */
function table(title: string, columns: readonly string[], rows: unknown[]) {
  return html`
    <div class="table" tabindex="0" role="group" aria-label="${title}">
      <table>
        <caption>${title}</caption>
        <thead>
          <tr>${columns.map((it) =>
            html`
              <th scope="col">${it}</th>
            `
          )}</tr>
        </thead>
        <tbody>${rows}</tbody>
      </table>
    </div>
  `;
}
