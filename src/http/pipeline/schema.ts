/**
 * Schemas of requests: a reader that checks a value, with the JSON Schema that describes it. The
 * readers are the store's own validators, so a limit is defined once, with one message.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import * as check from "../../core/validate.ts";

/** A JSON Schema (2020-12), as OpenAPI 3.1 takes it. */
export type JsonSchema = { readonly [keyword: string]: unknown };

/** Reads a value of a request. */
export interface Schema<T> {
  /** What the documentation shows. */
  readonly json: JsonSchema;
  /** Whether a field of it may be absent. */
  readonly optional: boolean;
  /** The value, checked; throws `invalid` naming `field` and what was found. */
  read(field: string, value: unknown): T;
}

/** The type a schema reads. */
export type Read<S> = S extends Schema<infer T> ? T : never;

/** A value that a validator of the store checks. */
export function by<T>(
  read: (field: string, value: unknown) => T,
  json: JsonSchema,
): Schema<T> {
  return { json, optional: false, read };
}

/** The same, with another description. */
export function described<T>(schema: Schema<T>, description: string): Schema<T> {
  return { ...schema, json: { ...schema.json, description } };
}

/** One of some words. */
export function oneOf<const T extends string>(values: readonly T[]): Schema<T> {
  return by((field, value) => check.oneOf(field, value, values), { enum: values });
}

/** A field that may be absent. */
export function optional<T>(schema: Schema<T>): Schema<T | undefined> {
  return {
    json: schema.json,
    optional: true,
    read: (field, value) => value === undefined ? undefined : schema.read(field, value),
  };
}

/** A field of an answer that may be null. */
export function nullable<T>(schema: Schema<T>): Schema<T | null> {
  return {
    json: { anyOf: [schema.json, { type: "null" }] },
    optional: schema.optional,
    read: (field, value) => value === null ? null : schema.read(field, value),
  };
}

/** A list. */
export function list<T>(item: Schema<T>): Schema<T[]> {
  return {
    json: { type: "array", items: item.json },
    optional: false,
    read: (field, value) => check.array(field, value).map((v, i) => item.read(`${field}[${i}]`, v)),
  };
}

type Fields = Record<string, Schema<unknown>>;

/** An object of these fields and no others, so that a misspelt field is not ignored. */
export function object<F extends Fields>(
  fields: F,
  json: JsonSchema = {},
): Schema<{ [K in keyof F]: Read<F[K]> }> {
  const entries = Object.entries(fields);
  return {
    json: {
      type: "object",
      properties: Object.fromEntries(entries.map(([name, it]) => [name, it.json])),
      required: entries.filter(([, it]) => !it.optional).map(([name]) => name),
      additionalProperties: false,
      ...json,
    },
    optional: false,
    read: (field, value) => {
      const given = check.object(field === "" ? "body" : field, value);
      const inside = (name: string) => field === "" ? name : `${field}.${name}`;
      for (const name of Object.keys(given)) {
        if (Object.hasOwn(fields, name)) continue;
        const known = entries.map(([it]) => it).join(", ");
        const message = known === ""
          ? `Unknown field ${check.show(name)}; no fields are allowed here`
          : `Unknown field ${check.show(name)}; allowed fields are ${known}`;
        throw new StoreError("invalid", message, { field: inside(name.slice(0, 64)) });
      }
      const found: Record<string, unknown> = {};
      for (const [name, schema] of entries) {
        const value = schema.read(
          inside(name),
          Object.hasOwn(given, name) ? given[name] : undefined,
        );
        if (value !== undefined) found[name] = value;
      }
      return found as { [K in keyof F]: Read<F[K]> };
    },
  };
}
