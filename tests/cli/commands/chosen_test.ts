import assert from "node:assert/strict";
import { chmodSync, existsSync, statSync, writeFileSync } from "node:fs";
import { openSqlite } from "../../../mod.ts";
import { cli, documentOf } from "../kit.ts";
import { testServer } from "../../helpers/nats.ts";
import { daemon } from "../serve/kit.ts";
import { inDir, person } from "../../helpers/sqlite.ts";
import { testAuthority } from "../../helpers/tls.ts";

const flagsOf = ({ signPub, kexPub, handle }: ReturnType<typeof person>) => [
  ...["--sign-pub", signPub, "--kex-pub", kexPub, "--handle", handle],
];

Deno.test("commands use the file that the server's settings name, as it does", () =>
  inDir(async (dir) => {
    const config = `${dir}/membershipd.toml`;
    writeFileSync(config, `db = "${dir}/theirs.db"\nlogLevel = "warn"\n`);
    const env = { UNIBUS_CONFIG: config };
    assert.equal(
      (await cli(["user", "add", "--create", ...flagsOf(person("ada"))], { env })).code,
      0,
    );
    {
      await using store = openSqlite(`${dir}/theirs.db`);
      assert.equal((await store.getUser(person("ada").signPub)).handle, "user ada");
    }
    assert.equal(documentOf(await cli(["doctor", "--json"], { env })).healthy, true);

    // The environment goes before the file, a flag before both.
    const other = { ...env, UNIBUS_DB: `${dir}/other.db` };
    assert.equal((await cli(["invite", "create", "--create"], { env: other })).code, 0);
    assert.ok(existsSync(`${dir}/other.db`));
    const flag = ["--db", `${dir}/flag.db`];
    assert.equal((await cli(["invite", "create", "--create", ...flag], { env: other })).code, 0);
    // The folder that the settings name is created, that of a flag may be a slip.
    const deep = { UNIBUS_DB: `${dir}/deep/er/theirs.db` };
    assert.equal((await cli(["invite", "create", "--create"], { env: deep })).code, 0);
    assert.equal(statSync(`${dir}/deep`).mode & 0o777, 0o700);
    const blocked = await cli(["invite", "create", "--create"], {
      env: { UNIBUS_DB: `${config}/a.db` },
    });
    assert.match(blocked.stderr, /^error: Creating the directory .*membershipd\.toml: /);
    const slip = ["--db", `${dir}/sl/ip.db`];
    const { code, stderr } = await cli(["invite", "create", "--create", ...slip], { env: deep });
    assert.deepEqual([code, existsSync(`${dir}/sl`)], [1, false]);
    assert.match(stderr, /there is no directory .*\/sl\nhint: /);
    const listed = documentOf(await cli(["invite", "list", "--json", ...flag], { env: other }));
    assert.equal(listed.invites.length, 1);
  }));

Deno.test("settings that are wrong end a command as they end the server", () =>
  inDir(async (dir) => {
    const config = `${dir}/membershipd.toml`;
    writeFileSync(config, `dbb = "x"\n`);
    const wrong = await cli(["user", "list"], { env: { UNIBUS_CONFIG: config } });
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /unknown setting "dbb"; did you mean db\?/);
    const missing = await cli(["user", "list"], { env: { UNIBUS_CONFIG: `${dir}/none` } });
    assert.deepEqual([missing.code, /no such file/.test(missing.stderr)], [2, true]);
    const any = { UNIBUS_STORE: "jetstream", UNIBUS_NATS_PORT: "0" };
    const port = await cli(["user", "list"], { env: any });
    assert.deepEqual([port.code, /use --nats-url/.test(port.stderr)], [2, true]);
  }));

Deno.test("commands reach the bucket in the server's own NATS by its settings alone", () =>
  inDir(async (dir) => {
    await using server = await daemon(dir, ["--store", "jetstream", "--bucket", "MINE"]);
    const { port } = new URL(server.nats);
    const env = {
      UNIBUS_STORE: "jetstream",
      UNIBUS_BUCKET: "MINE",
      UNIBUS_NATS_PORT: port,
      UNIBUS_DB: `${dir}/a.db`,
    };
    assert.equal((await cli(["user", "add", ...flagsOf(person("ada"))], { env })).code, 0);
    const { users } = documentOf(await cli(["user", "list", "--json"], { env }));
    assert.deepEqual(users.map((it: { handle: string }) => it.handle), ["user ada"]);
    assert.ok(!existsSync(`${dir}/a.db`));
    // What a flag says goes before.
    const other = await cli(["user", "list", "--bucket", "NONE"], { env });
    assert.match(other.stderr, /No bucket NONE/);
    const keys = await cli(["user", "list", "--service-keys", `${dir}/no.json`], { env });
    assert.match(keys.stderr, /no\.json/);
  }));

Deno.test("its own NATS is reached by TLS, verified by the name in the certificate", () =>
  inDir(async (dir) => {
    const authority = testAuthority("unibus test CA");
    const { cert, key } = authority.issue("server", ["bus.example.org"]);
    for (const [name, text] of Object.entries({ cert, key, ca: authority.cert })) {
      writeFileSync(`${dir}/${name}.pem`, text);
      chmodSync(`${dir}/${name}.pem`, 0o600);
    }
    const tls = ["--tls-cert", `${dir}/cert.pem`, "--tls-key", `${dir}/key.pem`];
    const flags = [...tls, "--ca", `${dir}/ca.pem`, "--bus-auth", "enforce"];
    await using server = await daemon(dir, ["--store", "jetstream", ...flags]);
    const env = {
      UNIBUS_STORE: "jetstream",
      UNIBUS_NATS_PORT: new URL(server.nats.replace(/^\w+/, "http")).port,
      UNIBUS_DB: `${dir}/a.db`,
      UNIBUS_TLS_CERT: `${dir}/cert.pem`,
      UNIBUS_CA: `${dir}/ca.pem`,
    };
    const { code, stderr } = await cli(["user", "list"], { env });
    assert.equal(code, 0, stderr);
  }));

Deno.test("commands use another NATS server that the settings name, with its seed", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const env = { UNIBUS_STORE: "jetstream", UNIBUS_NATS_URL: server.url };
    assert.equal((await cli(["invite", "create", "--create"], { env })).code, 0);
    assert.equal(documentOf(await cli(["invite", "list", "--json"], { env })).invites.length, 1);
    for (const [name, said] of [["NKEY_SEED_FILE", "nkey-seed-file"], ["CREDS", "creds"]]) {
      const wrong = { ...env, [`UNIBUS_${name}`]: `${dir}/none` };
      const { stderr } = await cli(["invite", "list"], { env: wrong });
      assert.match(stderr, new RegExp(`--${said} .*none: no such file`));
    }
  }));
