/** A server that passes on what another server's bus says, to get in there as the person who signs in. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createConnection, type Socket } from "node:net";
import { until } from "../../cli/serve/kit.ts";
import { browserTest } from "../browser.ts";
import { enter, guest, house, isConnected } from "./kit.ts";

/** A WebSocket that is passed on to a NATS server, which can be changed. */
function relay() {
  const open = new Set<Socket>();
  const it = {
    url: "",
    /** The NATS server. */
    to: "",
    /** What pages said when they connected, and what they were told. */
    said: [] as string[],
    told: "",
    /** Ends every connection. */
    drop: () => open.forEach((socket) => socket.destroy()),
  };
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, (request) => {
    const { socket: page, response } = Deno.upgradeWebSocket(request);
    page.binaryType = "arraybuffer";
    page.onopen = () => {
      const bus = createConnection(Number(new URL(it.to).port), "127.0.0.1");
      open.add(bus);
      bus.on("data", (data) => {
        it.told += data;
        if (page.readyState === WebSocket.OPEN) page.send(data);
      });
      bus.on("error", () => {});
      bus.on("close", () => {
        open.delete(bus);
        page.close();
      });
      page.onmessage = ({ data }) => {
        const text = typeof data === "string" ? data : new TextDecoder().decode(data);
        if (text.startsWith("CONNECT ")) it.said.push(text);
        bus.write(typeof data === "string" ? data : new Uint8Array(data));
      };
      page.onclose = () => bus.destroy();
    };
    return response;
  });
  it.url = `ws://127.0.0.1:${server.addr.port}`;
  return Object.assign(it, {
    async [Symbol.asyncDispose]() {
      const ended = [...open].map((socket) => once(socket, "close"));
      it.drop();
      await Promise.all(ended);
      await server.shutdown();
    },
  });
}

browserTest(
  "a server whose page a person uses gets into no other server's bus with what the page signs",
  async () => {
    await using between = relay();
    await using theirs = await house(["--ws-url", between.url]);
    await using other = await house();
    const ada = await theirs.person("Ada");
    const { signPub, kexPub } = ada.identity;
    await other.store.addUser({ signPub, kexPub, handle: "Ada" });
    await using one = await guest();
    const { page } = one;
    between.to = theirs.it.nats;
    await enter(page, theirs, ada);

    between.to = other.it.nats;
    between.said.length = 0;
    between.told = "";
    between.drop();
    const { reason, detail } = await other.it.event("bus.refused");
    assert.equal(reason, "session_audience", detail);
    await page.getByRole("status").getByText("No connection", { exact: true }).waitFor();
    await until(() => between.told.includes("-ERR"), "refusal");
    assert.match(between.told, /^INFO .*"nonce":"[\w-]{11,}"/);
    assert.match(between.told, /-ERR 'Authorization Violation'/);
    // It was a whole attempt: the key of the session, its signature, and the certificate.
    const { nkey, sig, auth_token } = JSON.parse(
      between.said[0]!.slice("CONNECT ".length).split("\r\n")[0]!,
    );
    assert.notEqual(nkey, ada.identity.nkey);
    assert.match(sig, /^[\w-]{86}$/);
    assert.match(auth_token, /^unibus-session1\./);
    assert.deepEqual(other.it.events().filter((it) => it.event === "bus.admitted"), []);

    between.to = theirs.it.nats;
    await isConnected(page);
  },
);
