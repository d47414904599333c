/**
 * The real server with people in it who can talk.
 *
 * @module
 */

import { openSqlite } from "../../../mod.ts";
import {
  createClient,
  createIdentity,
  type Identity,
  openRooms,
  type RoomProblem,
  type RoomsOptions,
} from "../../../src/client/mod.ts";
import { type Daemon, daemon } from "../../cli/serve/kit.ts";
import type { Person } from "./village.ts";

/** A server that demands signatures, and people on its allowlist. */
export interface Town extends AsyncDisposable {
  server: Daemon;
  /** Adds somebody to the allowlist. */
  person(identity?: Identity): Promise<Person>;
}

/** Starts one, with all its files in `dir`. */
export async function town(dir: string, args: string[] = []): Promise<Town> {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await daemon(dir, ["--bus-auth", "enforce", ...args], {}, 60_000));
  const owned = stack.move();
  return {
    server,
    async person(identity = createIdentity()) {
      const { signPub, kexPub } = identity;
      {
        await using store = openSqlite(`${dir}/a.db`);
        await store.addUser({ signPub, kexPub, handle: "somebody" });
      }
      const client = owned.use(
        createClient({ url: server.http, identity, timeout: 60_000 }),
      );
      const memory = new Map<string, string>();
      const problems: RoomProblem[] = [];
      const onProblem = (it: RoomProblem) => void problems.push(it);
      const rooms = async (options: Partial<RoomsOptions> = {}) => {
        const nats = { servers: server.nats, bootstrapTimeout: 60_000 };
        const base = { client, identity, nats, memory, onProblem, sendTimeout: 60_000 };
        const it = await openRooms({ ...base, ...options });
        owned.defer(() => it.close());
        return it;
      };
      return { identity, client, memory, problems, rooms };
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
