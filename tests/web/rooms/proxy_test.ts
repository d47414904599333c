/** The reverse proxies of docs/deploy, set up as it says: pages and the bus are reached through them. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { cardOf } from "@unibus/membership/client";
import { isAlive, until } from "../../cli/serve/kit.ts";
import { freePorts } from "../../helpers/nats.ts";
import { inDir } from "../../helpers/sqlite.ts";
import { selfSigned } from "../../helpers/tls.ts";
import { browserTest } from "../browser.ts";
import { accept, add, createRoom, enter, guest, house, line, say } from "./kit.ts";

const GUIDE = fileURLToPath(new URL("../../../docs/deploy/README.md", import.meta.url));

/** How a proxy is run: its file, and its command. */
interface Proxy {
  /** How its block in the guide begins. */
  begins: string;
  /** Makes the whole file of the block. */
  file: (block: string, at: { dir: string; port: number }) => string;
  args: (dir: string) => string[];
}

const PROXIES: Readonly<Record<string, Proxy>> = {
  caddy: {
    begins: "bus.example.org",
    file: (block, { dir }) =>
      `{\n\tadmin off\n\tauto_https disable_redirects\n}\n` +
      block.replace("{\n", `{\n\ttls ${dir}/cert.pem ${dir}/key.pem\n`),
    args: (dir) => ["run", "--adapter", "caddyfile", "--config", `${dir}/conf`],
  },
  nginx: {
    begins: "location",
    file: (block, { dir, port }) => {
      const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map((it) => `${it}_temp_path ${dir}/${it};`).join(" ");
      return `daemon off; pid ${dir}/pid; events {} http { access_log off; ${temporary} server {
        listen 127.0.0.1:${port} ssl; ssl_certificate ${dir}/cert.pem;
        ssl_certificate_key ${dir}/key.pem; ${block} } }`;
    },
    args: (dir) => ["-e", "stderr", "-p", dir, "-c", `${dir}/conf`],
  },
};

for (const [tool, proxy] of Object.entries(PROXIES)) {
  browserTest(
    `through ${tool}, set up as the guide says, people join and talk`,
    () =>
      inDir(async (dir) => {
        const [port, http, ws] = await freePorts(3) as [number, number, number];
        const blockOf = async (begins: string): Promise<string> => {
          const blocks = (await readFile(GUIDE, "utf8")).matchAll(/^```\w*\n([^]*?)^```$/gm);
          const found = [...blocks].map((it) => it[1]!).find((it) => it.startsWith(begins));
          assert.ok(found, `No block begins with ${begins}`);
          return found.replaceAll("bus.example.org", `bus.test:${port}`)
            .replaceAll("127.0.0.1:8470", `127.0.0.1:${http}`)
            .replaceAll("127.0.0.1:4252", `127.0.0.1:${ws}`);
        };
        await writeFile(`${dir}/server.toml`, await blockOf("busAuth"));
        const { cert, key } = selfSigned("bus.test", ["bus.test"]);
        await writeFile(`${dir}/cert.pem`, cert);
        await writeFile(`${dir}/key.pem`, key, { mode: 0o600 });
        await writeFile(`${dir}/conf`, proxy.file(await blockOf(proxy.begins), { dir, port }));
        const ports = ["--http-port", `${http}`, "--ws-port", `${ws}`];
        await using it = await house(["--config", `${dir}/server.toml`, ...ports]);
        const child = spawn(tool, proxy.args(dir), {
          env: { ...Deno.env.toObject(), HOME: dir, XDG_DATA_HOME: dir, XDG_CONFIG_HOME: dir },
          stdio: ["ignore", "ignore", "pipe"],
        });
        let said = "";
        child.stderr.on("data", (text) => said += text);
        const ended = new Promise((resolve) => child.on("close", resolve));
        try {
          await until(
            () => {
              assert.ok(isAlive(child.pid!), said);
              return listens(port);
            },
            "proxy",
            60_000,
          );
          const url = `https://bus.test:${port}`;
          const [ada, bob] = [await it.person("Ada"), await it.person("Bob")];
          await using one = await guest({}, { ignoreHTTPSErrors: true });
          await using other = await guest({}, { ignoreHTTPSErrors: true });
          await enter(one.page, { url }, ada);
          await createRoom(one.page, "kitchen");
          await enter(other.page, { url }, bob);
          await add(one.page, cardOf(bob.identity));
          await accept(other.page, "kitchen");
          await say(one.page, "through the proxy");
          await line(other.page, "through the proxy").waitFor();
          assert.ok(
            one.frames.every((frame) => frame.url.startsWith(`wss://bus.test:${port}/bus`)),
          );
          assert.ok(one.frames.length > 0);
          await one.assertClean(url);
        } finally {
          child.kill();
          await ended;
        }
      }),
    [tool],
  );
}

/** Whether something listens on a port of this machine. */
async function listens(port: number): Promise<boolean> {
  try {
    (await Deno.connect({ port })).close();
    return true;
  } catch {
    return false;
  }
}
