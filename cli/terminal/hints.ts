/**
 * Hints for the command line: what to do next after a failure.
 *
 * @module
 */

import type { StoreError } from "../../src/core/errors.ts";

const ASK_FOR_INVITE = "ask an admin for a new one: membershipd invite create";
const NAME_STORE = "name the file with --db, or a server with --nats-url";

/** Hints that name a flag or a command, by code or by code and field. */
const HINTS: Readonly<Record<string, string>> = {
  // Records
  "not_found user": "run membershipd user list to see the keys",
  "not_found room": "run membershipd room list to see the IDs",
  "not_found invite": `the token is mistyped or belongs to another store; ${ASK_FOR_INVITE}`,
  "invalid signPub": "give the user's signing key, as printed by user list and identity show",
  invite_used: ASK_FOR_INVITE,
  invite_expired: ASK_FOR_INVITE,
  invite_canceled: ASK_FOR_INVITE,
  user_exists: "run user show KEY to see the user, or user restore KEY to restore a revoked one",
  last_admin: "use --force to do it anyway",
  missing_key: "seal a key for the listed members, then run the command again",
  conflict: "it was changed at the same time: check its state, then run the command again",
  mismatch: "run the command again; membershipd verify lists the differences by key",

  // Store
  "not_found path": `${NAME_STORE}; user add --create and serve begin a new control plane`,
  "refused path": NAME_STORE,
  "corrupt path": `${NAME_STORE}; if the store is damaged, restore a backup`,
  "unsupported path":
    "back up the file, then start the server with it once: membershipd serve --db",
  "refused moved":
    "use it where it is now: a bucket with --nats-url (serve: --store jetstream), a file on its node; " +
    "migrate-to-sqlite and membershipd grow move it back",
  "refused replace":
    "compare both sides first (verify, snapshot diff), or use --replace to continue",
  "not_found bucket":
    "name the bucket with --bucket, or create it with migrate-to-kv, serve or user add --create",

  // Identities and credentials
  "not_found identity": "create one with membershipd identity create",
  "invalid identity": "name a key file created by membershipd identity create",
  "invalid credentials": "--creds requires a .creds file: a JWT and its seed",
  "invalid nkeySeed": "--nkey-seed-file requires a file with a seed, which begins with SU",
  "unavailable credentials":
    "authenticate with --service-keys (the file that membershipd created), --nkey-seed-file or --creds",

  // Servers
  "unavailable servers":
    "check --nats-url and that the server is running; set --connect-timeout to wait longer",
  "unavailable tls": "this port does not support TLS: use a nats:// URL without --ca",
  "unavailable tls.ca":
    "set --ca to the certificate authority that signed the server's certificate",
  "unavailable natsServer": "install one with membershipd nats install",
  "unavailable port":
    "stop the program that uses the port, or set --http-port, --nats-port, --ws-port or --cluster-port",
  "unavailable host": "--bind must be an address of this machine; use 0.0.0.0 for all of them",
};

/**
 * Returns the command line's hint for the error's code and field, else the error's own, else the
 * one for its code.
 */
export function hintOf({ code, field, hint }: StoreError): string | undefined {
  return HINTS[`${code} ${field}`] ?? hint ?? HINTS[code];
}
