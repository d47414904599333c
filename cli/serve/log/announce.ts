/**
 * The server's announcement when it is ready: an introduction at the first start, one line later.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { DEFAULT_DB } from "../../command.ts";
import { VERSION } from "../../version.ts";
import { publicUrl } from "../../link.ts";
import { hasConsole, hasTls, isClustered, isManaged, isPublic } from "../../settings/guards.ts";
import type { NextStep } from "../checks/beside.ts";
import type { Fields, Log } from "../../terminal/log.ts";
import { serviceKeysPath, type Settings } from "../../settings/settings.ts";

/** The server's URLs. */
export interface Places {
  /** HTTP; undefined with `--nats-only`. */
  http?: string;
  /** NATS. */
  nats: string;
  /** NATS over WebSocket; undefined if it is off. */
  ws?: string;
  /** The nats-server's monitoring port, if enabled. */
  monitoring?: string;
}

/**
 * Lists the files and directories that the server creates if they do not exist, with descriptions.
 */
export function filesOf(settings: Settings): [path: string, what: string][] {
  const { db, storeDir, natsStore, store } = settings;
  return [
    ...store === "sqlite" ? [[db, "users, rooms, members, keys, invites"] as const] : [],
    ...store === "sqlite" ? [[storeDir, "blobs"] as const] : [],
    ...isManaged(settings)
      ? [
        [natsStore, "streams of the nats-server"] as const,
        [serviceKeysPath(settings), "service keys of this node; keep them secret"] as const,
      ]
      : [],
  ].map(([path, what]) => [path, what]);
}

/** Lists those of {@link filesOf} that do not exist. */
export function missingOf(settings: Settings): string[] {
  return filesOf(settings).map(([path]) => path).filter((path) => !existsSync(path));
}

/** Lists disabled features and how to enable them. */
function offOf(settings: Settings): string[] {
  const { busAuth, store, replicas } = settings;
  return [
    ...busAuth === "enforce"
      ? []
      : [`authentication is ${busAuth === "off" ? "off" : "logged only"}: --bus-auth enforce`],
    ...hasTls(settings) ? [] : ["TLS: --tls-cert FILE --tls-key FILE"],
    ...isPublic(settings)
      ? []
      : ["access from other machines: --bind 0.0.0.0, with --bus-auth enforce and TLS"],
    ...store === "sqlite"
      ? ["three machines in place of one, while it serves: membershipd cluster plan"]
      : isClustered(settings) && replicas === null
      ? ["more than one copy of the store: membershipd cluster scale --replicas 3"]
      : [],
  ];
}

/** Returns the flags with which other commands access the same store, quoted for a shell. */
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

/** Input of {@link announce}. */
export interface Announcement {
  settings: Settings;
  places: Places;
  /** Files and directories that did not exist before this start. */
  missing: readonly string[];
  /** Whether there is an active admin; null if unknown. */
  hasAdmin: boolean | null;
  /** Duration of the start in milliseconds. */
  took: number;
  /** The next step while only the nats-server runs. */
  next: NextStep | null;
}

/** Returns the next commands while only the nats-server runs. */
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
      // Without the keys the move would go to the clients' account, whose bucket no server reads.
      return { move: `membershipd migrate-to-kv${file}${reach}`, then };
  }
}

/**
 * Announces that the server is ready.
 *
 * @param log The log
 * @param say Writes the introduction at the first start; null with JSON logs
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
    return log("info", "ready", { ...places, note: "only the nats-server", ...moves });
  }
  const made = filesOf(settings).filter(([path]) => missing.includes(path) && existsSync(path));
  const add = `membershipd user add --admin --handle NAME --identity me.json` +
    storeFlags(settings, places);
  const url = publicUrl(settings) ?? http;
  const invite = `membershipd invite create --role admin${
    storeFlags(settings, places)
  } --url ${url}`;
  const first = made.length > 0;
  log("info", "ready", { ...places, store, busAuth, version: VERSION, ms: Math.round(took) });
  if (say === null) {
    if (first) log("info", "first_start", { made: made.map(([path]) => path).join(" ") });
  } else if (first) {
    const listens: [url: string, what: string][] = [
      [http, `for browsers and programs; the API is documented at ${http}/docs`],
      [`${http}/rooms`, "rooms to talk in, for browsers"],
      ...hasConsole(settings) ? [[`${http}/console`, "admin console, for browsers"] as const] : [],
      [places.nats, "NATS, for messages"],
      ...places.ws === undefined ? [] : [[places.ws, "NATS, for messages in browsers"] as const],
    ].map(([url, what]) => [url!, what!]);
    say([
      "",
      "First start. Created:",
      ...columns(made),
      "Listening on:",
      ...columns(listens),
      ...offOf(settings).length === 0 ? [] : ["Disabled, and how to enable:"],
      ...offOf(settings).map((it) => `  ${it}`),
      ...hasAdmin !== false ? [] : [
        "Create the first admin, by a link to open in a browser or by a file for programs:",
        `  ${invite}`,
        "  membershipd identity create me.json",
        `  ${add}`,
      ],
      "Run membershipd serve --help to see all settings. Press Ctrl-C to stop.",
      "",
    ].join("\n"));
    return;
  }
  if (hasAdmin === false) log("warn", "no_admin", { hint: add });
}
