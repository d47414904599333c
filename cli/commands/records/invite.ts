/**
 * `invite create|list|show|cancel|redeem`: single-use invites.
 *
 * @module
 */

import { Option } from "@commander-js/extra-typings";
import type { Invite } from "../../../mod.ts";
import { isStoreError, StoreError } from "../../../src/core/errors.ts";
import { inviteState } from "../../../src/core/rules.ts";
import * as check from "../../../src/core/validate.ts";
import {
  command,
  type CommandUnknownOpts,
  type Context,
  CREATE_HELP,
  withJson,
  withPaging,
  withStore,
} from "../../command.ts";
import { UsageError } from "../../terminal/failure.ts";
import { bytesOf } from "../../terminal/files.ts";
import { duration } from "../../flags.ts";
import { baseOf, isSecure, linkOf, qrLines, urlOption } from "../../link.ts";
import { withOpenStore } from "../../store/open.ts";
import { fields, print, printJson, printList, say } from "../../terminal/output.ts";
import { personOf, withPerson } from "./person.ts";
import { printUser } from "./user.ts";

/** Creates the command. */
export function inviteCommand(context: Context): CommandUnknownOpts {
  return command(
    context,
    "invite",
    "Manage single-use invites. Only a hash of the token is stored",
    [
      "membershipd invite create --note 'for the build machine'",
      "membershipd invite list",
    ],
  )
    .addCommand(create(context))
    .addCommand(list(context))
    .addCommand(show(context))
    .addCommand(cancel(context))
    .addCommand(redeem(context));
}

function create(context: Context): CommandUnknownOpts {
  return withJson(withStore(
    command(
      context,
      "create",
      "Create an invite and show its link and token, which cannot be shown again",
      [
        "membershipd invite create --role admin",
        "membershipd invite create --url https://bus.example.org --qr",
        "membershipd invite create --room kitchen",
        "membershipd invite create --expires 12h --note 'new laptop' --by ada",
        "membershipd invite create --json | jq -r .token",
      ],
    )
      .addOption(
        new Option("--role <role>", "role of the new user")
          .choices(["admin", "user"] as const).default("user" as const),
      )
      .option("--room <room>", "ID of a room: the new user waits until its owner adds it")
      .option("--note <text>", "note for admins")
      .option(
        "--expires <time>",
        "validity: 90m, 12h, 7d, 2w (default: 7d)",
        duration,
      )
      .option("--by <name>", "who creates it: a user's key, or a name", "cli")
      .addOption(urlOption())
      .addOption(
        new Option("--qr", "also show the link as a QR code").conflicts("json"),
      )
      .option("--create", CREATE_HELP),
  )).action(async (flags) => {
    // Before the invite is created: a token that was never shown would be valid for a week.
    const base = await baseOf(context, flags);
    if (flags.qr && base === null) throw new UsageError(`--qr requires a link: ${HOW_TO_LINK}`);
    const input = {
      createdBy: check.createdBy("by", flags.by),
      role: flags.role,
      note: check.note("note", flags.note ?? ""),
      expiresIn: expires(flags.expires),
      ...flags.room !== undefined && { room: check.roomId("room", flags.room) },
    };
    await withOpenStore(context, flags, { create: flags.create === true }, async (store) => {
      const created = await store.createInvite(input);
      const { token, invite } = created;
      const link = base === null ? null : linkOf(base, token);
      if (flags.json) return await printJson(context, { ...created, link });
      const { id, role, expiresAt, room } = invite;
      const more = { ...room !== undefined && { room }, expires: expiresAt };
      await print(
        context,
        ...fields({ ...link !== null && { link }, token, id, role, ...more }),
      );
      if (flags.qr && link !== null) await printQr(context, link);
      await say(context, "The token is not stored and cannot be shown again");
      if (base === null) await say(context, `For a link that opens in a browser: ${HOW_TO_LINK}`);
      else if (!isSecure(base)) {
        await say(context, "Browsers create keys only over HTTPS, so this link will not work");
      }
    });
  });
}

const HOW_TO_LINK = "use --url https://HOST, or set UNIBUS_URL";

async function printQr(context: Context, link: string): Promise<void> {
  const { isTTY, columns = Infinity } = context.io.stdout;
  const lines = await qrLines(link, isTTY);
  const width = (await qrLines(link, false))[0]!.length;
  if (isTTY && columns < width) {
    return await say(context, `The QR code requires a terminal with at least ${width} columns`);
  }
  await print(context, "", ...lines, "");
}

function expires(ms: number = check.LIMITS.inviteDefaultMs): number {
  if (ms <= check.LIMITS.inviteMaxMs) return ms;
  const days = check.LIMITS.inviteMaxMs / 86_400_000;
  throw new StoreError("invalid", `--expires must be at most ${days}d`, { field: "expires" });
}

function list(context: Context): CommandUnknownOpts {
  return withJson(withPaging(withStore(
    command(context, "list", "List invites by ID", [
      "membershipd invite list",
      "membershipd invite list --limit 20 --json",
    ]),
  ))).action(async (flags) => {
    const now = Date.now();
    await withOpenStore(context, flags, { read: true }, async (store) => {
      await printList(context, flags, {
        name: "invites",
        page: async (request) => {
          const { items, next } = await store.listInvites(request);
          return { items: items.map((it) => ({ ...it, state: inviteState(it, now) })), next };
        },
        columns: {
          ID: (it) => it.id,
          STATE: (it) => it.state,
          ROLE: (it) => it.role,
          EXPIRES: (it) => it.expiresAt,
          ROOM: (it) => it.room ?? "-",
          NOTE: (it) => it.note,
        },
      });
    });
  });
}

function show(context: Context): CommandUnknownOpts {
  return withJson(withStore(
    command(context, "show", "Show an invite", ["membershipd invite show ID"])
      .argument("<id>", "the invite's ID, not its token"),
  )).action(async (id, flags) => {
    await withOpenStore(context, flags, { read: true }, async (store) => {
      const invite = await byId(store.getInvite(id));
      const shown = { ...invite, state: inviteState(invite, Date.now()) };
      if (flags.json) await printJson(context, shown);
      else await print(context, ...fields(shown));
    });
  });
}

function cancel(context: Context): CommandUnknownOpts {
  return withJson(withStore(
    command(context, "cancel", "Cancel an unused invite", [
      "membershipd invite cancel ID",
    ]).argument("<id>", "the invite's ID, not its token"),
  )).action(async (id, flags) => {
    await withOpenStore(context, flags, {}, async (store) => {
      const invite = await byId(store.cancelInvite(id));
      if (flags.json) {
        await printJson(context, { ...invite, state: inviteState(invite, Date.now()) });
      } else await print(context, `canceled ${invite.id}`);
    });
  });
}

/** Throws `not_found` without repeating the ID, because it may be a token. */
async function byId(found: Promise<Invite>): Promise<Invite> {
  try {
    return await found;
  } catch (error) {
    if (!isStoreError(error, "not_found")) throw error;
    throw new StoreError("not_found", "No invite has this ID; use its ID, not its token", {
      hint: "run membershipd invite list to see the IDs",
    });
  }
}

function redeem(context: Context): CommandUnknownOpts {
  return withJson(withStore(
    withPerson(
      command(context, "redeem", "Redeem an invite: adds a user with the invite's role", [
        "membershipd invite redeem --token-file - --identity ada.json --handle ada <token.txt",
        "membershipd invite redeem --token-file token.txt --sign-pub KEY --kex-pub KEY --handle ada",
      ])
        .argument(
          "[token]",
          "the token; prefer a file, because other users of this machine can see arguments",
        )
        .option("--token-file <file>", "file that contains the token; - reads stdin"),
    ),
  )).action(async (argument, flags) => {
    const claim = await personOf(flags);
    const token = await readToken(context, argument, flags.tokenFile);
    await withOpenStore(context, flags, {}, async (store) => {
      await printUser(context, flags, await store.consumeInvite(token, claim), "added");
    });
  });
}

async function readToken(
  { io }: Context,
  argument: string | undefined,
  file: string | undefined,
): Promise<string> {
  if ((argument === undefined) === (file === undefined)) {
    throw new UsageError(
      "Specify the token with --token-file FILE (- for stdin) or as an argument",
    );
  }
  if (file === undefined) return argument!;
  if (check.hex64(file) !== null) {
    throw new UsageError("--token-file must be the path of a file that contains the token");
  }
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of bytesOf(io, file)) {
    text += decoder.decode(chunk, { stream: true });
    // A token has 64 characters: this is not one.
    if (text.length > 1024) break;
  }
  return text.trim();
}
