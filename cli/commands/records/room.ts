/**
 * `room list|show|owner`
 *
 * @module
 */

import type { Member, Store } from "../../../mod.ts";
import {
  command,
  type CommandUnknownOpts,
  type Context,
  withJson,
  withPaging,
  withStore,
} from "../../command.ts";
import { UsageError } from "../../terminal/failure.ts";
import { withOpenStore } from "../../store/open.ts";
import { fields, print, printJson, printList } from "../../terminal/output.ts";

/** Creates the command. */
export function roomCommand(context: Context): CommandUnknownOpts {
  return command(context, "room", "Show rooms and their members, and change owners", [
    "membershipd room list",
    "membershipd room show ROOM",
    "membershipd room owner ROOM KEY",
  ])
    .addCommand(list(context))
    .addCommand(show(context))
    .addCommand(owner(context));
}

function list(context: Context): CommandUnknownOpts {
  return withJson(withPaging(withStore(
    command(context, "list", "List rooms by ID", [
      "membershipd room list",
      "membershipd room list --member KEY --json",
    ])
      .option("--member <key>", "only the rooms of this member")
      .option("--offered", "with --member: only rooms offered to it that it has not accepted"),
  ))).action(async (flags) => {
    const { member, offered } = flags;
    if (offered && member === undefined) {
      throw new UsageError("--offered requires --member");
    }
    await withOpenStore(context, flags, { read: true }, async (store) => {
      await printList(context, flags, {
        name: "rooms",
        page: (request) =>
          member === undefined ? store.listRooms(request) : store.listRoomsForEndpoint(
            member,
            offered ? { ...request, accepted: false } : request,
          ),
        columns: {
          ID: (it) => it.id,
          EPOCH: (it) => it.epoch,
          KIND: (it) => it.encrypted ? "encrypted" : "cleartext",
          CREATED: (it) => it.createdAt,
          OWNER: (it) => it.owner,
          SUBJECT: (it) => it.subject,
        },
      });
    });
  });
}

function owner(context: Context): CommandUnknownOpts {
  return withJson(withStore(
    command(
      context,
      "owner",
      "Transfer a room whose owner is revoked or deleted to another member",
      [
        "membershipd room owner ROOM KEY",
      ],
    )
      .argument("<room>", "the room's ID")
      .argument("<key>", "signing key of a member that has accepted and has the current room key"),
  )).action(async (id, key, flags) => {
    await withOpenStore(context, flags, {}, async (store) => {
      const room = await store.changeRoomOwner(id, key);
      if (flags.json) return await printJson(context, { room });
      const { handovers: _, ...shown } = room;
      await print(context, ...fields(shown));
    });
  });
}

function show(context: Context): CommandUnknownOpts {
  return withJson(withStore(
    command(
      context,
      "show",
      "Show a room, its members, and the members without the current room key",
      [
        "membershipd room show ROOM",
        "membershipd room show ROOM --json | jq .lacking",
      ],
    ).argument("<room>", "the room's ID"),
  )).action(async (id, flags) => {
    await withOpenStore(context, flags, { read: true }, async (store) => {
      const room = await store.getRoom(id);
      const holders = room.encrypted ? await holdersOf(store, id, room.epoch) : null;
      const members: (Member & { hasKey: boolean | null })[] = [];
      for await (const member of store.members(id)) {
        members.push({ ...member, hasKey: holders?.has(member.endpoint) ?? null });
      }
      const lacking = members.filter((it) => it.hasKey === false).map((it) => it.endpoint);
      if (flags.json) return await printJson(context, { room, members, lacking });
      const { handovers = [], ...shown } = room;
      await print(
        context,
        ...fields({
          ...shown,
          "hand-overs": handovers.length,
          members: members.length,
          "lack the key": lacking.length,
        }),
        "",
      );
      await printList(context, {}, {
        name: "members",
        page: () => Promise.resolve({ items: members, next: null }),
        columns: {
          ENDPOINT: (it) => it.endpoint,
          ROLE: (it) => it.role,
          STATE: (it) => it.accepted ? "accepted" : "offered",
          JOINED: (it) => it.joinedAt,
          KEY: (it) => it.hasKey === null ? "-" : it.hasKey ? `epoch ${room.epoch}` : "lacking",
        },
      });
    });
  });
}

async function holdersOf(store: Store, id: string, epoch: number): Promise<Set<string>> {
  const holders = new Set<string>();
  for await (const key of store.sealedKeys(id, { epoch })) {
    holders.add(key.endpoint);
  }
  return holders;
}
