/** Who may what: every route from both sides, and the table in the docs. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { openDiskBlobs } from "../../../src/blobs/mod.ts";
import type { Handover } from "../../../src/core/model.ts";
import { WHO, type Who } from "../../../src/http/rights/policy.ts";
import type { Route } from "../../../src/http/pipeline/route.ts";
import { ROUTES } from "../../../src/http/routes.ts";
import { handoverBytes } from "../../../src/keys/codec/handover.ts";
import { type Ask, isProblem, sealedFor, someone, type TestPlane, testPlane } from "../kit.ts";

/** Everybody there is to a room. */
type Kind =
  | "nobody"
  | "stranger"
  | "revoked"
  | "outsider"
  | "member"
  | "owner"
  | "admin"
  | "lapsed admin";

const KINDS: Kind[] = [
  "nobody",
  "stranger",
  "revoked",
  "outsider",
  "member",
  "owner",
  "admin",
  "lapsed admin",
];

/** Who is let in by each row; the admin is in no room. */
const LET_IN: Record<Who, Kind[]> = {
  anyone: KINDS,
  newcomer: KINDS.filter((it) => it !== "nobody"),
  user: ["outsider", "member", "owner", "admin"],
  admin: ["admin"],
  "user, admin for all": ["outsider", "member", "owner", "admin"],
  member: ["member", "owner"],
  owner: ["owner"],
  // What is about the member itself.
  "owner or oneself": ["member", "owner"],
  "owner or admin": ["owner", "admin"],
  "who put it": ["owner", "admin"],
};

interface Scene extends TestPlane {
  people: Record<Exclude<Kind, "nobody">, Awaited<ReturnType<TestPlane["user"]>>>;
  inviteId: string;
  token: string;
  blobId: string;
}

async function scene(dir: string): Promise<Scene> {
  const blobs = await openDiskBlobs(dir);
  const it = await testPlane({ blobs });
  const people = {
    stranger: someone(),
    revoked: await it.user(),
    outsider: await it.user(),
    member: await it.user(),
    owner: await it.user(),
    admin: await it.user("admin"),
    "lapsed admin": await it.user("admin"),
  };
  await it.store.createRoom({
    id: "r",
    subject: "room.r",
    owner: { endpoint: people.owner.signPub, kexPub: people.owner.kexPub },
    members: [{ endpoint: people.member.signPub, kexPub: people.member.kexPub }],
    sealedKeys: [people.owner, people.member].map(({ signPub }) => ({
      endpoint: signPub,
      sealedKey: new Uint8Array([1, 2, 3]),
    })),
  });
  // Revoked ones keep their memberships: those must not let them in either.
  await it.store.addMember("r", {
    endpoint: people.revoked.signPub,
    kexPub: people.revoked.kexPub,
  });
  await it.store.revokeUser(people.revoked.signPub);
  await it.store.revokeUser(people["lapsed admin"].signPub);
  const { invite, token } = await it.store.createInvite({ createdBy: "cli" });
  const { id: blobId } = await blobs.put(bytes("a blob"), {
    maxBytes: 100,
    holders: { owners: [people.owner.signPub], unowned: false },
  });
  return {
    ...it,
    people,
    inviteId: invite.id,
    token,
    blobId,
    [Symbol.asyncDispose]: async () => {
      await it[Symbol.asyncDispose]();
      await blobs.close();
    },
  };
}

async function* bytes(text: string): AsyncGenerator<Uint8Array> {
  yield new TextEncoder().encode(text);
}

/** A statement of the room's owner that the member owns it. */
function handoverOf({ people: { owner, member } }: Scene): Handover {
  const statement = { from: owner.signPub, to: member.signPub, epoch: 1 };
  const signature = owner.sign(handoverBytes("r", statement));
  return { ...statement, signature: Buffer.from(signature).toString("base64url") };
}

/** A call of each route that works for who may. */
function callOf(route: Route, it: Scene): { line: string; body?: unknown } {
  const { people: { owner, member, revoked, outsider } } = it;
  const path = route.path
    .replace("/rooms/{id}", "/rooms/r")
    .replace("/invites/{id}", `/invites/${it.inviteId}`)
    .replace("/blobs/{id}", `/blobs/${it.blobId}`)
    .replace("{endpoint}", member.signPub)
    .replace("{signPub}", outsider.signPub);
  const key = (who: { signPub: string }) => sealedFor(who)[0]!;
  const bodies: Record<string, unknown> = {
    register: { token: it.token, kexPub: someone().kexPub, handle: "New" },
    checkInvite: { token: it.token },
    createRoom: { id: "another", encrypted: false },
    addMember: { endpoint: outsider.signPub, kexPub: outsider.kexPub },
    // It owns the room already; the owner of an active user cannot be changed.
    changeRoomOwner: { endpoint: owner.signPub },
    handOverRoom: { handover: handoverOf(it) },
    rekeyRoom: { epoch: 2, sealedKeys: sealedFor(owner, member, revoked) },
    putSealedKey: { epoch: 1, ...key(member) },
    addUser: { signPub: someone().signPub, kexPub: someone().kexPub, handle: "New" },
    createInvite: {},
    revokeUser: {},
    setUserRole: { role: "admin" },
    putBlob: "other bytes",
  };
  return { line: `${route.method} ${path}`, body: bodies[route.id] };
}

for (const route of ROUTES) {
  Deno.test(`${route.method} ${route.path}: ${route.who}, and nobody else`, async () => {
    const dir = await Deno.makeTempDir();
    try {
      for (const kind of KINDS) {
        await using it = await scene(dir);
        const { line, body } = callOf(route, it);
        const as = kind === "nobody" ? null : it.people[kind];
        const before = JSON.stringify(await it.store.listMembers("r"));
        const answer = await it.ask(line, { as, body } as Ask);
        if (LET_IN[route.who].includes(kind)) {
          // A member who reads nothing of its own is told so; that is no refusal.
          const own = route.id === "register" && kind !== "stranger";
          const fine = answer.status < 300 || (own && answer.json?.code === "user_exists");
          assert.ok(fine, `${kind}: ${answer.status} ${answer.text}`);
          continue;
        }
        const [status, code] = kind === "nobody"
          ? [401, "unauthenticated"] as const
          : ["outsider", "admin"].includes(kind) && /member|owner/.test(route.who)
          ? [404, "not_found"] as const // Who is not in a room is not told that there is one.
          : [403, "forbidden"] as const;
        isProblem(answer, status, code);
        assert.equal(JSON.stringify(await it.store.listMembers("r")), before);
        assert.equal(it.events.filter((event) => event.event === "refused").length, 1, kind);
      }
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  });
}

Deno.test("a member ends its own membership and nobody else's", async () => {
  const dir = await Deno.makeTempDir();
  await using it = await scene(dir);
  const { member, owner, outsider } = it.people;
  const path = (who: { signPub: string }) => `DELETE /v1/rooms/r/members/${who.signPub}`;
  isProblem(await it.ask(path(owner), { as: member }), 403, "forbidden");
  isProblem(await it.ask(path(outsider), { as: outsider }), 404, "not_found");
  isProblem(await it.ask(path(owner), { as: owner }), 409, "room_owner");
  assert.equal((await it.ask(path(member), { as: member })).status, 204);
  isProblem(await it.ask("GET /v1/rooms/r", { as: member }), 404, "not_found");
  await Deno.remove(dir, { recursive: true });
});

Deno.test("the list of members says who may connect; an admin changes a gone owner and gets no key", async () => {
  const dir = await Deno.makeTempDir();
  await using it = await scene(dir);
  const { owner, member, revoked, admin } = it.people;
  const statuses = async () => {
    const { json } = await it.ask("GET /v1/rooms/r/members", { as: member });
    return Object.fromEntries(
      json.items.map((entry: { endpoint: string; status: string | null }) => [
        entry.endpoint,
        entry.status,
      ]),
    );
  };
  const stranger = someone();
  await it.store.addMember("r", { endpoint: stranger.signPub, kexPub: stranger.kexPub });
  assert.deepEqual(await statuses(), {
    [owner.signPub]: "active",
    [member.signPub]: "active",
    [revoked.signPub]: "revoked",
    [stranger.signPub]: null,
  });
  const give = (as: Ask["as"]) =>
    it.ask("POST /v1/rooms/r/owner", { as, body: { endpoint: member.signPub } } as Ask);
  isProblem(await give(admin), 409, "refused");
  await it.store.revokeUser(owner.signPub);
  isProblem(await give(member), 403, "forbidden");
  const given = await give(admin);
  assert.deepEqual([given.status, given.json.owner], [200, member.signPub]);
  isProblem(await it.ask("GET /v1/rooms/r/key", { as: admin }), 404, "not_found");
  assert.equal((await it.store.listSealedKeys("r")).items.length, 2);
  assert.equal((await statuses())[owner.signPub], undefined);
  // The new owner does what owners do.
  const sealedKeys = sealedFor(member, revoked, stranger);
  const rekey = { epoch: 2, sealedKeys };
  assert.equal((await it.ask("POST /v1/rooms/r/rekey", { as: member, body: rekey })).status, 200);
  const { json } = await it.ask("GET /v1/changes?action=room.owner_changed", { as: admin });
  assert.deepEqual(
    json.items.map((it: Record<string, string>) => [it.by, it.room, it.user]),
    [[admin.signPub, "r", member.signPub]],
  );
  await Deno.remove(dir, { recursive: true });
});

Deno.test("only an admin lists every room", async () => {
  const dir = await Deno.makeTempDir();
  await using it = await scene(dir);
  const { owner, outsider, admin } = it.people;
  isProblem(await it.ask("GET /v1/rooms?all=true", { as: owner }), 403, "forbidden");
  const ids = async (as: Ask["as"], query = "") => {
    const { json } = await it.ask(`GET /v1/rooms${query}`, { as });
    return json.items.map(({ id }: { id: string }) => id);
  };
  assert.deepEqual(await ids(admin, "?all=true"), ["r"]);
  assert.deepEqual(await ids(admin), []);
  assert.deepEqual(await ids(outsider), []);
  assert.deepEqual(await ids(owner), ["r"]);
  await Deno.remove(dir, { recursive: true });
});

Deno.test("an admin sees no keys, not even of a room whose id it knows", async () => {
  const dir = await Deno.makeTempDir();
  await using it = await scene(dir);
  for (
    const line of ["GET /v1/rooms/r/key", "GET /v1/rooms/r/keys", "GET /v1/rooms/r/key?epoch=1"]
  ) {
    isProblem(await it.ask(line, { as: it.people.admin }), 404, "not_found");
  }
  await Deno.remove(dir, { recursive: true });
});

Deno.test("who was revoked is refused from the next request on, and let in again when restored", async () => {
  await using it = await testPlane();
  const [admin, user] = [await it.user("admin"), await it.user()];
  assert.equal((await it.ask("GET /v1/me", { as: user })).status, 200);
  const line = `POST /v1/users/${user.signPub}`;
  assert.equal((await it.ask(`${line}/revoke`, { as: admin, body: {} })).status, 200);
  isProblem(await it.ask("GET /v1/me", { as: user }), 403, "forbidden");
  assert.equal((await it.ask(`${line}/restore`, { as: admin })).status, 200);
  assert.equal((await it.ask("GET /v1/me", { as: user })).status, 200);
  assert.equal((await it.ask(`DELETE /v1/users/${user.signPub}`, { as: admin })).status, 204);
  isProblem(await it.ask("GET /v1/me", { as: user }), 403, "forbidden");
});

Deno.test("the table in docs/http.md is the table in the code", () => {
  const text = readFileSync(new URL("../../../docs/http.md", import.meta.url), "utf8");
  const rows = [...text.matchAll(/^\| `([A-Z]+) (\/v1[^`]*)` +\| ([^|]+?) +\|/gm)]
    .map(([, method, path, who]) => `${method} ${path}: ${who}`);
  assert.deepEqual(rows, ROUTES.map((it) => `${it.method} ${it.path}: ${WHO[it.who]}`));
});
