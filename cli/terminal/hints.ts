/**
 * What to do next after a failure, in the words of the command line.
 *
 * @module
 */

import type { StoreError } from "../../src/core/errors.ts";

const ASK_FOR_INVITE = "ask an admin for a new one: membershipd invite create";
const NAME_STORE = "name the file with --db, or a server with --nats-url";

/** Where a flag or a command is the answer: by code, or by code and field. */
const HINTS: Readonly<Record<string, string>> = {
  // The records.
  "not_found user": "membershipd user list shows the keys",
  "not_found room": "membershipd room list shows the ids",
  "not_found invite": `the token is of another store, or mistyped; ${ASK_FOR_INVITE}`,
  "invalid signPub": "users go by their keys, as user list and identity show print them",
  invite_used: ASK_FOR_INVITE,
  invite_expired: ASK_FOR_INVITE,
  invite_canceled: ASK_FOR_INVITE,
  user_exists: "user show KEY shows it; user restore gives a revoked one access again",
  last_admin: "--force overrides",
  missing_key: "seal a key for the members that are named, and run it again",
  conflict: "somebody else changed it at the same time: look again, and run it again",
  mismatch: "run the command again; verify lists the differences by key",

  // The store.
  "not_found path": NAME_STORE,
  "refused path": NAME_STORE,
  "corrupt path": `${NAME_STORE}; restore a backup where it was one`,
  "unsupported path": "back it up, then start the server on it once: membershipd serve --db",
  "refused moved":
    "use --nats-url (serve: --store jetstream), or migrate-to-sqlite, which moves it back here",
  "refused replace":
    "look at both sides first (verify, snapshot diff); --replace goes on all the same",
  "not_found bucket": "name the bucket with --bucket; migrate-to-kv makes it",

  // Identities and credentials.
  "not_found identity": "membershipd identity create makes one",
  "invalid identity": "name a file that membershipd identity create has made",
  "invalid credentials": "--creds takes a .creds file: a JWT and its seed",
  "invalid nkeySeed": "--nkey-seed-file takes a file with a seed, which begins with SU",
  "unavailable credentials":
    "say who you are: --service-keys (the file membershipd made), --nkey-seed-file or --creds",

  // Servers.
  "unavailable servers":
    "check --nats-url and that the server runs; --connect-timeout makes a command wait longer",
  "unavailable tls": "this port speaks no TLS: a nats:// URL without --ca reaches it",
  "unavailable tls.ca": "--ca names the authority that signed the server's certificate",
  "unavailable natsServer": "membershipd nats install gets one",
  "unavailable port":
    "stop the program that listens there, or choose --http-port, --nats-port, --cluster-port",
  "unavailable host": "--bind must be an address of this machine; 0.0.0.0 is all of them",
};

/** The command line's hint for this field, else the error's own, else that for the code. */
export function hintOf({ code, field, hint }: StoreError): string | undefined {
  return HINTS[`${code} ${field}`] ?? hint ?? HINTS[code];
}
