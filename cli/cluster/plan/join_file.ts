/**
 * The `.join` file: everything that one machine needs to become a node, for a limited time.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { StoreError } from "../../../src/core/errors.ts";
import { NEWER } from "../../../src/core/hints.ts";
import * as check from "../../../src/core/validate.ts";
import { type LockedText, lockText, unlockText } from "../../../src/keys/locked_text.ts";
import type { Passphrase } from "../../../src/keys/passphrase.ts";
import type { Values } from "../../settings/node.ts";
import type { Needs, PlannedNode } from "./types.ts";

const FORMAT = "unibus-join";
const VERSION = 1;
/** More than any file has. */
export const MOST_BYTES = 256 * 1024;

/** The readable part. */
export interface JoinFront {
  /** ID of the plan. */
  readonly plan: string;
  /** The cluster's name. */
  readonly cluster: string;
  /** The node that it is for. */
  readonly name: string;
  /** Its address. */
  readonly address: string;
  /** When it was made, ISO 8601. */
  readonly createdAt: string;
  /** Until when it can be used, ISO 8601. */
  readonly expiresAt: string;
}

/** How the first node is reached, to compare plan and clock. */
export interface FirstNode extends PlannedNode {
  /** URL of its nats-server. */
  readonly url: string;
  /** The name in its certificate; null without TLS. */
  readonly serverName: string | null;
  /** The authority of its certificate, as PEM; null for those of the system. */
  readonly ca: string | null;
}

/** The secret part. */
export interface JoinContent {
  /** The node's settings. */
  readonly settings: Values;
  /** What it may be given as settings of its own. */
  readonly alone: Values;
  /** Files by their path, relative to its directory. */
  readonly files: Readonly<Record<string, string>>;
  /** What it must have. */
  readonly needs: Needs;
  /** The node that serves now. */
  readonly first: FirstNode;
}

/** A parsed file, its content perhaps still encrypted. */
export interface JoinFile extends JoinFront {
  /** Whether it needs a passphrase. */
  readonly locked: boolean;
  /** Returns the content. */
  open(passphrase?: Passphrase): Promise<JoinContent>;
}

/** Returns the text of a file. */
export async function formatJoin(
  front: JoinFront,
  content: JoinContent,
  passphrase: string | null,
): Promise<string> {
  const { plan, cluster, name, address, createdAt, expiresAt } = front;
  const head = {
    format: FORMAT,
    version: VERSION,
    plan,
    cluster,
    name,
    address,
    createdAt,
    expiresAt,
  };
  const body = passphrase === null
    ? { ...head, content }
    : { ...head, locked: await lockText(JSON.stringify(content), passphrase, frontOf(head)) };
  return `${JSON.stringify({ ...body, digest: digestOf(body) }, null, 2)}\n`;
}

/**
 * Parses a file.
 *
 * @throws {StoreError} `invalid`: not such a file, or it was changed; `unsupported`: a newer version
 */
export function parseJoin(text: string): JoinFile {
  let json: Record<string, unknown> = {};
  try {
    if (text.length <= MOST_BYTES) json = check.object("join", JSON.parse(text));
  } catch {
    // Without the cause, because a parser's message may quote the text.
  }
  if (json.format !== FORMAT) {
    throw invalid(
      "The file is not a .join file, or it was cut off",
      "copy it again from the first node",
    );
  }
  if (json.version !== VERSION) {
    throw new StoreError(
      "unsupported",
      `The .join file has version ${check.show(json.version)}, this program supports ${VERSION}`,
      { hint: NEWER },
    );
  }
  const { digest, ...body } = json;
  if (digest !== digestOf(body)) {
    throw invalid(
      "The .join file is damaged or was changed: its digest does not match",
      "copy it again from the first node",
    );
  }
  const { plan, cluster, name, address, createdAt, expiresAt, locked, content } = body;
  for (const it of [plan, cluster, name, address, createdAt, expiresAt]) {
    if (typeof it !== "string") throw invalid("The .join file is damaged", "make a new one");
  }
  return {
    ...{ plan, cluster, name, address, createdAt, expiresAt } as JoinFront,
    locked: locked !== undefined,
    open: async (passphrase) => {
      if (locked === undefined) return content as JoinContent;
      if (passphrase === undefined) {
        throw new StoreError(
          "invalid",
          "The .join file is encrypted, and no passphrase was given",
          {
            field: "passphrase",
            hint: "use --passphrase or --passphrase-file",
          },
        );
      }
      const given = typeof passphrase === "string" ? passphrase : await passphrase();
      const { locked: _, ...head } = body;
      return JSON.parse(await unlockText(locked as LockedText, given, frontOf(head)));
    },
  };
}

function invalid(message: string, hint: string): StoreError {
  return new StoreError("invalid", message, { field: "join", hint });
}

/** The readable part, which the cipher authenticates. */
function frontOf(head: Record<string, unknown>): string {
  return JSON.stringify(head);
}

function digestOf(body: Record<string, unknown>): string {
  return createHash("sha256").update(JSON.stringify(body)).digest("hex");
}
