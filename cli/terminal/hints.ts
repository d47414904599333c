/**
 * What to do next after a failure whose message does not say it.
 *
 * @module
 */

import type { StoreError, StoreErrorCode } from "../../src/core/errors.ts";

type Hint = readonly [codes: StoreErrorCode | "any", message: RegExp, hint: string];

const ASK_FOR_INVITE = "ask an admin for a new one: membershipd invite create";
const NAME_STORE = "name the file with --db, or a server with --nats-url";

/** The first that fits is shown. */
const HINTS: readonly Hint[] = [
  // What there is.
  ["not_found", /^No user /, "membershipd user list shows the keys"],
  [
    "invalid",
    /^signPub must be 64 hex/,
    "users go by their keys, as user list and identity show print them",
  ],
  ["not_found", /^No room /, "membershipd room list shows the ids"],
  ["not_found", /^No such invitation/, "membershipd invite list shows the ids"],
  ["not_found", /^No invite /, `the token is of another store, or mistyped; ${ASK_FOR_INVITE}`],
  ["invite_used", /./, ASK_FOR_INVITE],
  ["invite_expired", /./, ASK_FOR_INVITE],
  ["invite_canceled", /./, ASK_FOR_INVITE],
  ["user_exists", /./, "user show KEY shows it; user restore gives a revoked one access again"],
  ["last_admin", /./, "--force overrides"],
  ["conflict", /./, "somebody else changed it at the same time: look again, and run it again"],

  // The store.
  [
    "refused",
    /its control plane moved to/,
    "use --nats-url (serve: --store jetstream), or migrate-to-sqlite, which moves it back here",
  ],
  ["not_found", /^Opening .*no such file/, NAME_STORE],
  ["refused", /^Opening .*(not a control plane|is not a file)/, NAME_STORE],
  ["corrupt", /^Opening .*not an SQLite file/, `${NAME_STORE}; restore a backup where it was one`],
  ["not_found", /^No bucket/, "name the bucket with --bucket; migrate-to-kv makes it"],
  [
    "refused",
    /replace (overrides|what is there)/,
    "look at both sides first (verify, snapshot diff); --replace goes on all the same",
  ],
  ["mismatch", /^Refusing /, "it was changed on its way here: get it again"],
  ["mismatch", /./, "run the command again; verify lists the differences by key"],
  [
    "unavailable",
    /locked by another/,
    "another process is writing for long, such as a move or an import: wait for its end",
  ],

  // Files.
  [
    "corrupt",
    /^(Source|Snapshot) /,
    "take another copy of the snapshot; this one cannot be mended",
  ],
  ["not_found", /service keys: there is no file/, "the server makes them beside its --db file"],
  ["not_found", /^(?!Reading |Opening ).*: no such file$/, "membershipd identity create makes one"],
  ["invalid", /not an exported identity$/, "name a file that membershipd identity create has made"],
  ["invalid", /^credentials is not/, "--creds takes a .creds file: a JWT and its seed"],
  [
    "invalid",
    /^nkeySeed is not/,
    "--nkey-seed-file takes a file with a seed, which begins with SU",
  ],
  [
    "unavailable",
    /storage of nats-server is full/,
    "then run the same command again; a move or an import continues",
  ],
  ["any", /no space left|disk is full/i, "make room on the disk, then run it again"],
  [
    "unsupported",
    /newer program|has (version|layout) .*(reads|known is) (version )?\d/,
    "a newer membershipd made it; use that version or a later one",
  ],
  [
    "unsupported",
    /open it once for writing$/,
    "back it up, then start the server on it once: membershipd serve --db",
  ],

  // Other programs and machines.
  [
    "unavailable",
    /does not accept these credentials$/,
    "say who you are: --service-keys (the file membershipd made), --nkey-seed-file or --creds",
  ],
  [
    "refused",
    /the account of its clients/,
    "--service-keys names the file membershipd made, ./local_files/service-keys.json by default",
  ],
  [
    "any",
    /The server forbids it|not enabled for account/,
    "these credentials may not use the bucket: --service-keys, or an account with JetStream",
  ],
  [
    "unavailable",
    /server does not support 'tls'/,
    "this port speaks no TLS: a nats:// URL without --ca reaches it",
  ],
  ["unavailable", /TLS failed/, "--ca names the authority that signed the server's certificate"],
  [
    "unavailable",
    /already in use|another program listens/,
    "stop the program that listens there, or choose --http-port, --nats-port, --cluster-port",
  ],
  [
    "unavailable",
    /cannot assign requested address|no such address/,
    "--bind must be an address of this machine; 0.0.0.0 is all of them",
  ],
  [
    "unavailable",
    /(Listening on .*|bind): permission denied/,
    "ports below 1024 need CAP_NET_BIND_SERVICE; choose higher ones with --http-port, --nats-port",
  ],
  [
    "unavailable",
    /^Connect to/,
    "check --nats-url and that the server runs; --connect-timeout makes a command wait longer",
  ],
  [
    "any",
    /^UNIBUS_NATS_SERVER names/,
    "set it to a nats-server 2.12 or later, or to nothing: one is then looked for",
  ],
  ["unavailable", /^No nats-server/, "membershipd nats install gets one"],
  ["unsupported", /^The nats-server is version/, "upgrade that nats-server"],

  // Last, as it is in messages that say more.
  [
    "any",
    /permission denied|EACCES|EROFS|it is read-only|cannot be opened, or its directory not written/i,
    "run it as the user whose file it is, or name another place",
  ],
];

/** What to do next; `null` where the message says it, or nobody knows. */
export function hintOf({ code, message }: StoreError): string | null {
  const found = HINTS.find(([of, fits]) => (of === code || of === "any") && fits.test(message));
  return found?.[2] ?? null;
}
