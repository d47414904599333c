/**
 * `/openapi.json`: the routes and their schemas as an OpenAPI 3.1 document.
 *
 * @module
 */

import config from "../../../deno.json" with { type: "json" };
import type { StoreErrorCode } from "../../core/errors.ts";
import { WHO } from "../rights/policy.ts";
import { REVISION_HEADER, STATUS } from "../../core/status.ts";
import { TITLE } from "../pipeline/problem.ts";
import type { Route } from "../pipeline/route.ts";
import { type JsonSchema, type Schema } from "../pipeline/schema.ts";
import { PROBLEM } from "../routes/shapes.ts";

const SIGNING =
  "Requests are signed according to RFC 9421 with Ed25519 over `@method`, `@authority`, " +
  "`@request-target` and, if there is a body, `content-digest` (RFC 9530), with the parameters " +
  "`created`, `nonce` (new for each request), `keyid` (the public key, 64 hex digits) and " +
  '`alg="ed25519"`. `created` may be 60 seconds old and 5 ahead.';

/** The document. `now` never enters it: the same version gives the same bytes. */
export function openApi(routes: readonly Route[]): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const it of routes) (paths[it.path] ??= {})[it.method.toLowerCase()] = operation(it);
  return {
    openapi: "3.1.0",
    info: {
      title: "unibus control plane",
      version: config.version,
      description: `Manages users, rooms and memberships. ${SIGNING}`,
      license: { name: config.license, identifier: config.license },
    },
    paths,
    components: {
      schemas: { Problem: PROBLEM },
      parameters: {
        Revision: {
          name: REVISION_HEADER,
          in: "header",
          required: false,
          description:
            "The response includes everything up to this revision: the server waits for " +
            "it, and answers 503 if it does not have it soon",
          schema: { type: "string" },
        },
      },
      headers: {
        Revision: {
          description:
            "The revision of the change that the request made; absent if nothing changed",
          schema: { type: "string" },
        },
      },
      securitySchemes: {
        signature: { type: "http", scheme: "Signature", description: SIGNING },
      },
    },
    security: [{ signature: [] }],
  };
}

function operation(it: Route): Record<string, unknown> {
  const parameters = [
    ...[...it.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
      name,
      in: "path",
      required: true,
      schema: { type: "string" },
    })),
    ...queryOf(it.query),
    { $ref: "#/components/parameters/Revision" },
  ];
  const headers = it.method === "GET" || it.streams === true
    ? {}
    : { headers: { [REVISION_HEADER]: { $ref: "#/components/headers/Revision" } } };
  const binary = { "application/octet-stream": { schema: { type: "string", format: "binary" } } };
  const body = it.body !== undefined
    ? { "application/json": { schema: it.body.json } }
    : it.streams && it.method === "PUT"
    ? binary
    : null;
  const answer = it.answer !== undefined
    ? { "application/json": { schema: it.answer.json } }
    : it.streams
    ? binary
    : null;
  const content = answer === null ? {} : { content: answer };
  return {
    operationId: it.id,
    summary: it.summary,
    description: `Allowed for: ${WHO[it.who]}.`,
    parameters,
    ...(body === null ? {} : { requestBody: { required: true, content: body } }),
    responses: {
      [it.status]: { description: "Done", ...headers, ...content },
      ...Object.fromEntries(
        Object.entries(it.also ?? {}).map(([status, description]) => [status, {
          description,
          ...(Number(status) >= 400 ? PROBLEM_CONTENT : status === "304" ? {} : content),
        }]),
      ),
      ...problems(it),
    },
  };
}

function queryOf(schema: Schema<unknown> | undefined): Record<string, unknown>[] {
  const properties = (schema?.json.properties ?? {}) as Record<string, JsonSchema>;
  return Object.entries(properties).map(([name, { description, ...json }]) => ({
    name,
    in: "query",
    required: false,
    ...(description === undefined ? {} : { description }),
    schema: json,
  }));
}

/** The codes any route may answer with, besides its own. */
export const COMMON: readonly StoreErrorCode[] = [
  "invalid",
  "unauthenticated",
  "forbidden",
  "rate_limited",
  "unavailable",
];

const PROBLEM_CONTENT = {
  content: { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } } },
};

function problems(it: Route): Record<string, unknown> {
  const byStatus = new Map<number, StoreErrorCode[]>();
  const ofBody: StoreErrorCode[] = it.body === undefined ? [] : ["too_large"];
  for (const code of new Set([...COMMON, ...ofBody, ...it.errors ?? []])) {
    const status = STATUS[code];
    byStatus.set(status, [...byStatus.get(status) ?? [], code]);
  }
  const found = [...byStatus].map(([status, codes]) => [
    status,
    codes.map((code) => `\`${code}\`: ${TITLE[code]}`).join("; "),
  ]);
  if (it.body !== undefined) found.push([415, "`invalid`: the body is not application/json"]);
  return Object.fromEntries(
    found.map(([status, description]) => [status, { description, ...PROBLEM_CONTENT }]),
  );
}
