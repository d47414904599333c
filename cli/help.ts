/**
 * The program's main help text. Do not edit it: a test compares it with the parser's output, and
 * `deno test -A tests/cli/terminal/help_test.ts -- --update` regenerates it.
 *
 * @module
 */

/** Maximum width of a line of help. */
export const HELP_WIDTH = 100;

/**
 * Reports whether stdout is wide enough for the text; a narrow terminal needs other line breaks.
 */
export function fitsHelp(): boolean {
  return !Deno.stdout.isTerminal() || Deno.consoleSize().columns >= HELP_WIDTH;
}

/** The text, without a final newline. */
export const HELP: string = `Usage: membershipd [command] [flags]

The control plane of unibus: manages users, invites, rooms and members. Without a command it runs
the server, like \`membershipd serve\`.

Options:
  -V, --version                show the version
  -h, --help                   show this help

Commands:
  serve [options]              Run the server
  migrate-to-kv [options]      Move a control plane from a SQLite file to a NATS JetStream bucket
  migrate-to-sqlite [options]  Move a control plane from a NATS JetStream bucket back to a SQLite
                               file
  grow [options]               Move the store of the running server from its file into the cluster
                               of its plan, while it serves
  shrink [options]             Move the store from the cluster into one file of this node, while it
                               serves
  verify [options]             Compare a SQLite file with a NATS JetStream bucket, record by record,
                               and list the differences by key
  follow [options]             Keep a second copy of a bucket in a SQLite file, such as on a backup
                               host
  repair [options]             Repair a bucket that lost or changed something that a follower holds,
                               also of the history
  promote [options] <file>     Make a follower the control plane when its cluster is lost
  backup [options]             Copy an exact follower to a new file, without load for the NATS
                               server and while the server runs
  identity                     Create or show an identity
  user                         Manage users
  invite                       Manage single-use invites
  room                         Show rooms and their members, and change owners
  log [options]                Show who changed what
  blobs                        Show, delete and copy blobs
  snapshot                     Export and import the whole control plane as one file, for any store
  doctor [options]             Check a store for problems
  join [options] <file>        Make this machine a node of a cluster by the .join file that
                               membershipd cluster plan made for it, and start the server
  cluster                      Manage a cluster of servers that use --store jetstream
  nats                         Find, install or configure a nats-server, 2.12 or later
  completion <shell>           Show a shell's completion script for commands, flags, choices and
                               files
  man                          Show the source of the manual page, for man
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
  2    usage error: unknown flag, missing or invalid value
  3    verification found differences
  75   the server is to be started again, after cluster restart
  130  interrupted`;
