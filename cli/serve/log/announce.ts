/**
 * What the server says when it is ready: all there is to know at the first start, a line later on.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { DEFAULT_DB } from "../../command.ts";
import { VERSION } from "../../version.ts";
import { publicUrl } from "../../link.ts";
import { hasConsole, hasTls, isClustered, isManaged, isPublic } from "../settings/guards.ts";
import type { NextStep } from "../checks/beside.ts";
import type { Fields, Log } from "./log.ts";
import { serviceKeysPath, type Settings } from "../settings/settings.ts";

/** Where the server is reached. */
export interface Places {
  /** HTTP, unless only the nats-server runs. */
  http?: string;
  /** What NATS clients connect to. */
  nats: string;
  /** The nats-server's monitoring port, where it has one. */
  monitoring?: string;
}

/** Files and directories the server makes when they are missing, with what they are. */
export function filesOf(settings: Settings): [path: string, what: string][] {
  const { db, storeDir, natsStore, store } = settings;
  return [
    ...store === "sqlite" ? [[db, "users, rooms, members, keys, invites"] as const] : [],
    ...store === "sqlite" ? [[storeDir, "blobs"] as const] : [],
    ...isManaged(settings)
      ? [
        [natsStore, "streams of the nats-server"] as const,
        [serviceKeysPath(settings), "keys of this node's own services; keep them secret"] as const,
      ]
      : [],
  ].map(([path, what]) => [path, what]);
}

/** Those of {@link filesOf} that are missing. */
export function missingOf(settings: Settings): string[] {
  return filesOf(settings).map(([path]) => path).filter((path) => !existsSync(path));
}

/** What is not on, and how to turn it on. */
function offOf(settings: Settings): string[] {
  const { busAuth, store, replicas } = settings;
  return [
    ...busAuth === "enforce"
      ? []
      : [`who connects is not ${busAuth === "off" ? "looked at" : "refused"}: --bus-auth enforce`],
    ...hasTls(settings) ? [] : ["TLS: --tls-cert FILE --tls-key FILE"],
    ...isPublic(settings)
      ? []
      : ["other machines cannot reach it: --bind 0.0.0.0, with --bus-auth enforce and TLS"],
    ...store === "sqlite"
      ? ["one machine only: stop it, then membershipd serve --nats-only shows how to move to NATS"]
      : isClustered(settings) && replicas === null
      ? ["one copy of the store, unless it has got more: membershipd cluster scale --replicas 3"]
      : [],
  ];
}

/** The flags with which the other commands reach the same store, to be copied into a shell. */
function storeFlags(settings: Settings, { nats }: Places): string {
  const { store, db, bucket, ca, nkeySeedFile, creds, serviceKeys } = settings;
  const flags: [name: string, value: string | null][] = store === "sqlite"
    ? [["--db", db === DEFAULT_DB ? null : db]]
    : [
      ["--nats-url", nats],
      ["--nkey-seed-file", nkeySeedFile],
      ["--creds", creds],
      ["--service-keys", isManaged(settings) ? serviceKeysPath(settings) : serviceKeys],
      ["--bucket", bucket],
      ["--ca", ca],
    ];
  return flags.filter(([, value]) => value !== null)
    .map(([name, value]) => ` ${name} ${shellWord(value!)}`).join("");
}

function shellWord(text: string): string {
  return /^[\w./:@%+,=-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

function columns(rows: [name: string, what: string][]): string[] {
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, what]) => `  ${name.padEnd(width)}  ${what}`);
}

/** What the announcement is made of. */
export interface Announcement {
  settings: Settings;
  places: Places;
  /** What was missing before this start. */
  missing: readonly string[];
  /** Whether there is an active admin; null when that is not known. */
  hasAdmin: boolean | null;
  /** Milliseconds the start took. */
  took: number;
  /** What to do while the nats-server runs alone. */
  next: NextStep | null;
}

/** The commands to go on with while the nats-server runs alone. */
function movesOf(next: NextStep | null, settings: Settings, places: Places): Fields {
  const reach = storeFlags({ ...settings, store: "jetstream" }, places);
  const file = storeFlags({ ...settings, store: "sqlite" }, places);
  const then = "membershipd serve --store jetstream";
  switch (next?.kind) {
    case undefined:
      return {};
    case "serve":
      return { then, back: `membershipd migrate-to-sqlite${file}${reach}` };
    case "import":
      return { move: `membershipd cluster import ${shellWord(next!.from)}${reach}`, then };
    case "migrate":
      // Without the keys one would be in the clients' account, whose bucket nobody reads.
      return { move: `membershipd migrate-to-kv${file}${reach}`, then };
  }
}

/**
 * Says that the server is ready.
 *
 * @param log For the line
 * @param say For what people read at the first start; null where machines read
 */
export function announce(
  { settings, places, missing, hasAdmin, took, next }: Announcement,
  log: Log,
  say: ((text: string) => void) | null,
): void {
  const { busAuth, store } = settings;
  const { http } = places;
  if (http === undefined) {
    const moves = movesOf(next, settings, places);
    return log("info", "ready", { ...places, note: "the nats-server only", ...moves });
  }
  const made = filesOf(settings).filter(([path]) => missing.includes(path) && existsSync(path));
  const add = `membershipd user add --admin --handle NAME --identity me.json` +
    storeFlags(settings, places);
  const url = publicUrl(settings) ?? http;
  const invite = `membershipd invite create${storeFlags(settings, places)} --url ${url}`;
  const first = made.length > 0;
  log("info", "ready", { ...places, store, busAuth, version: VERSION, ms: Math.round(took) });
  if (say === null) {
    if (first) log("info", "first_start", { made: made.map(([path]) => path).join(" ") });
  } else if (first) {
    const listens: [url: string, what: string][] = [
      [http, `HTTP; ${http}/docs tells how to use it`],
      ...hasConsole(settings) ? [[`${http}/console`, "for admins, in a browser"] as const] : [],
      [places.nats, "NATS, for the messages"],
    ].map(([url, what]) => [url!, what!]);
    say([
      "",
      "This is the first start here. It made",
      ...columns(made),
      "It listens on",
      ...columns(listens),
      ...offOf(settings).length === 0 ? [] : ["Off, and how to turn it on"],
      ...offOf(settings).map((it) => `  ${it}`),
      ...hasAdmin !== false ? [] : [
        "Make the first admin, then an invitation for everybody else",
        "  membershipd identity create me.json",
        `  ${add}`,
        `  ${invite}`,
      ],
      "membershipd serve --help shows all settings; Ctrl-C stops it",
      "",
    ].join("\n"));
    return;
  }
  if (hasAdmin === false) log("warn", "no_admin", { hint: add });
}
