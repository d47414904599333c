/**
 * The store inside an app of your own: whoever shows a key of an active user gets in.
 *
 *     deno run --allow-net --allow-read --allow-write examples/embed_hono.ts
 *
 * @module
 */

import { openSqlite, type Store, StoreError } from "@unibus/membership";
import { Hono } from "hono";

/** The app; `store` decides who gets in. */
export function app(store: Store): Hono {
  const app = new Hono();
  app.onError((error, c) => {
    const isMissing = error instanceof StoreError && error.code === "not_found";
    return c.json({ error: error.message }, isMissing ? 404 : 500);
  });
  // `isAuthorized` answers from memory and fails closed: on any doubt it says no. Knowing a key proves
  // nothing: in earnest have the caller sign, as `@unibus/membership/http` does.
  app.use("/app/*", async (c, next) => {
    if (!await store.isAuthorized(c.req.header("x-key") ?? "")) {
      return c.json({ error: "Not a user" }, 403);
    }
    await next();
  });
  app.get("/app/me", async (c) => c.json(await store.getUser(c.req.header("x-key")!)));
  app.get("/app/rooms", async (c) => {
    return c.json(await store.listRoomsForEndpoint(c.req.header("x-key")!));
  });
  return app;
}

if (import.meta.main) {
  await using store = openSqlite(":memory:");
  const ada = { signPub: "a1".repeat(32), kexPub: "b2".repeat(32), handle: "ada" };
  await store.addUser(ada);
  await using server = Deno.serve({ port: 0, onListen: () => {} }, app(store).fetch);
  const ask = async (key: string) => {
    const { port } = server.addr;
    const headers = { "x-key": key };
    const answer = await fetch(`http://127.0.0.1:${port}/app/me`, { headers });
    console.log(answer.status, await answer.json());
  };
  await ask(ada.signPub);
  await store.revokeUser(ada.signPub);
  await ask(ada.signPub);
}
