/** The link of an invitation, and its QR code. */

import assert from "node:assert/strict";
import { isSecure, publicUrl, qrLines } from "../../../cli/link.ts";
import { resolve } from "../../../cli/settings/resolve.ts";
import { QrCode } from "../../../src/web/shared/ui/qr.tsx";
import { cli, documentOf } from "../kit.ts";
import { readQr } from "../../helpers/qr.ts";
import { inDir } from "../../helpers/sqlite.ts";

const URL_OF_LINK = /^https:\/\/bus\.example\.org\/join#[0-9a-f]{64}$/;

Deno.test("invite create prints a link to the page that --url or UNIBUS_URL names", () =>
  inDir(async (dir) => {
    const create = ["invite", "create", "--create", "--db", `${dir}/a.db`];
    const url = "https://bus.example.org/";
    const text = await cli([...create, "--url", url]);
    const [, link = "", token] = /^link +(\S+)\ntoken +(\S+)\n/.exec(text.stdout) ?? [];
    assert.match(link, URL_OF_LINK);
    assert.ok(link.endsWith(`#${token}`));
    const environments: Record<string, string>[] = [
      { UNIBUS_URL: url },
      { UNIBUS_AUTHORITY: "bus.example.org" },
      { UNIBUS_AUTHORITY: "bus.example.org:443", UNIBUS_TLS_CERT: "a", UNIBUS_TLS_KEY: "b" },
    ];
    for (const env of environments) {
      const found = documentOf(await cli([...create, "--json"], { env }));
      assert.match(found.link, URL_OF_LINK);
      assert.ok(found.link.endsWith(`#${found.token}`));
    }
  }));

Deno.test("without a known address it prints the token, and says how to get a link", () =>
  inDir(async (dir) => {
    const create = ["invite", "create", "--create", "--db", `${dir}/a.db`];
    const { code, stdout, stderr } = await cli(create);
    assert.equal(code, 0);
    assert.match(stdout, /^token {4}[0-9a-f]{64}\n/);
    assert.match(stderr, /--url https:\/\/HOST, or set UNIBUS_URL/);
    assert.equal(documentOf(await cli([...create, "--json"])).link, null);
    // Settings of the server that cannot be read are the server's to complain about.
    const env = { UNIBUS_HTTP_PORT: "x", UNIBUS_CONFIG: `${dir}/none.toml` };
    assert.equal((await cli(create, { env })).code, 0);
  }));

Deno.test("a bad address, or a QR code of no link, is refused before anything is made", () =>
  inDir(async (dir) => {
    const create = ["invite", "create", "--create", "--db", `${dir}/a.db`];
    const bad = ["bus", "ftp://bus", "https://bus/a", "https://u:p@bus", "https://bus/#a", ""];
    for (const flags of [...bad.map((it) => ["--url", it]), ["--qr"], ["--qr", "--json"]]) {
      assert.equal((await cli([...create, ...flags])).code, 2, flags.join(" "));
    }
    await assert.rejects(Deno.stat(`${dir}/a.db`), Deno.errors.NotFound);
    const told = await cli([...create, "--url", "https://u:hunter2@bus"]);
    assert.match(told.stderr, /--url must not contain a user or password/);
    assert.doesNotMatch(told.stderr + told.stdout, /hunter2/);
    const { stderr } = await cli([...create, "--url", "http://10.0.0.1:8470"]);
    assert.match(stderr, /only over HTTPS/);
  }));

Deno.test("the QR code is the link's, two rows of modules in a line of text", () =>
  inDir(async (dir) => {
    const create = [
      "invite",
      "create",
      "--create",
      "--db",
      `${dir}/a.db`,
      "--url",
      "https://b.example",
    ];
    const { stdout } = await cli([...create, "--qr"]);
    const [link = ""] = /https:\S+/.exec(stdout) ?? [];
    const lines = stdout.split("\n").filter((it) => /[█▀▄]/.test(it));
    assert.deepEqual(lines, await qrLines(link, false));
    const size = lines[0]!.length;
    const isLight = (x: number, y: number) => {
      const module = lines[y >> 1]![x]!;
      return module === "█" || module === (y % 2 === 0 ? "▀" : "▄");
    };
    assert.equal(readQr(size, (x, y) => !isLight(x, y)), link);
    assert.ok(size <= 80, "it fits a terminal of 80 columns");
  }));

Deno.test("the QR code of a page is read as its text", () => {
  for (
    const text of ["https://b.example/join#7", `https://b.example/rooms#card=${"aB-_9".repeat(34)}`]
  ) {
    const { props } = QrCode({ text, label: "" });
    const size = Number(props.viewBox.split(" ")[2]);
    const dark = new Set(props.children[1].props.d.match(/(?<=M)\d+ \d+/g));
    assert.equal(readQr(size, (x, y) => dark.has(`${x} ${y}`)), text);
  }
});

Deno.test("the settings of a server tell where it is, where they do", () => {
  const of = (flags: Record<string, string>) =>
    publicUrl(resolve({ flags, env: {}, file: null }).settings);
  const tls = { tlsCert: "a", tlsKey: "b" };
  assert.equal(of({}), "http://127.0.0.1:8470");
  assert.equal(of({ bind: "::1", httpPort: "80" }), "http://[::1]");
  assert.equal(of({ bind: "10.0.0.1", ...tls }), "https://10.0.0.1:8470");
  assert.equal(of({ bind: "0.0.0.0", ...tls }), null);
  assert.equal(of({ httpPort: "0" }), null);
  assert.equal(of({ authority: "bus.example.org" }), "https://bus.example.org");
  assert.equal(of({ authority: "bus.example.org", ...tls }), "https://bus.example.org:8470");
  assert.equal(of({ authority: "localhost:9,b" }), "http://localhost:9");
  const secure = ["https://a.example", "http://127.0.0.1:1", "http://[::1]:1", "http://localhost"];
  assert.deepEqual(secure.map(isSecure), [true, true, true, true]);
  assert.equal(isSecure("http://10.0.0.1"), false);
});
