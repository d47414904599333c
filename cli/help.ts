/**
 * The help of the program as a whole, as the parser writes it. Do not edit the text: a test compares
 * it with the parser's, and `deno test -A tests/cli/terminal/help_test.ts -- --update` writes it anew.
 *
 * @module
 */

/** Columns of a line of help at most. */
export const HELP_WIDTH = 100;

/** Whether stdout shows lines of help as they are. A narrow terminal needs them broken anew. */
export function fitsHelp(): boolean {
  return !Deno.stdout.isTerminal() || Deno.consoleSize().columns >= HELP_WIDTH;
}

/** The text, without the end of its last line. */
export const HELP: string = `Usage: membershipd [command] [flags]

The control plane of unibus: who may connect, which rooms exist, who is in them. Without a command
it is the server, as \`membershipd serve\`.

Options:
  -V, --version                show the version
  -h, --help                   show this help

Commands:
  serve [options]              Run the server
  migrate-to-kv [options]      Move a control plane from a SQLite file to a NATS JetStream bucket
  migrate-to-sqlite [options]  Move a control plane from a NATS JetStream bucket back to a SQLite
                               file
  verify [options]             Compare a SQLite file with a NATS JetStream bucket, record by record,
                               and list what differs by key
  identity                     The keys of one peer, in a file for its own eyes
  user                         The allowlist
  invite                       Single-use invitations
  room                         Rooms and who is in them
  blobs                        Blobs
  snapshot                     The whole control plane in one file, whatever the store
  doctor [options]             Check a store for problems
  cluster                      Look after a cluster of servers with --store jetstream
  nats                         Find or get a nats-server, 2.12 or later
  completion <shell>           Show the script with which a shell completes commands, flags, choices
                               and files
  man                          Show the manual page, as the source that man reads
  version [options]            Show the version
  help [command]               Show the help of a command

Examples:
  membershipd
  membershipd serve --help
  membershipd identity create ada.json
  membershipd user add --admin --handle ada --identity ada.json
  membershipd invite create --role admin
  membershipd migrate-to-kv --db ./local_files/unibus.db --nats-url nats://127.0.0.1:4222

Exit codes:
  0    done
  1    failed
  2    wrong usage: an unknown flag, a missing or bad value
  3    verified, and found different
  130  interrupted`;
