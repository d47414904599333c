import assert from "node:assert/strict";
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { loadServiceKeys, type ServiceKeys } from "../../../src/nats/mod.ts";
import { failsWith, inDir } from "../../helpers/sqlite.ts";

const unix = Deno.build.os !== "windows";
const create = { create: true };

const seedsOf = ({ service, system, issuer }: ServiceKeys) => [
  service.seed,
  system.seed,
  issuer.seed,
];

Deno.test("loadServiceKeys() makes the file once, private, and reads the same keys ever after", async () => {
  await inDir(async (dir) => {
    const path = join(dir, "deep", "service.keys");
    await failsWith("not_found", () => loadServiceKeys(path), /does not exist/);
    const made = await loadServiceKeys(path, create);
    assert.match(made.service.publicKey, /^U/);
    assert.match(made.system.publicKey, /^U/);
    assert.match(made.issuer.publicKey, /^A/);
    assert.equal(new Set(seedsOf(made)).size, 3);
    if (unix) {
      assert.equal(statSync(path).mode & 0o777, 0o600);
      assert.equal(statSync(join(dir, "deep")).mode & 0o777, 0o700);
    }
    assert.deepEqual(readdirSync(join(dir, "deep")), ["service.keys"]);
    assert.deepEqual(seedsOf(await loadServiceKeys(path)), seedsOf(made));
    assert.deepEqual(seedsOf(await loadServiceKeys(path, create)), seedsOf(made));
    assert.equal(JSON.parse(readFileSync(path, "utf8")).version, 1);
  });
});

Deno.test("many who start at once agree on one file", async () => {
  await inDir(async (dir) => {
    const path = join(dir, "service.keys");
    const all = await Promise.all(Array.from({ length: 32 }, () => loadServiceKeys(path, create)));
    assert.equal(new Set(all.map((it) => it.service.seed)).size, 1);
    assert.deepEqual(readdirSync(dir), ["service.keys"]);
  });
});

Deno.test("processes that start at once agree on one file", async () => {
  await inDir(async (dir) => {
    const path = join(dir, "service.keys");
    const module = new URL("../../../src/nats/connection/service_keys.ts", import.meta.url).href;
    const code = `const { loadServiceKeys } = await import(${JSON.stringify(module)});
      const keys = await loadServiceKeys(${JSON.stringify(path)}, { create: true });
      console.log(keys.issuer.publicKey);`;
    const config = fileURLToPath(new URL("../../../deno.json", import.meta.url));
    const said = await Promise.all(Array.from({ length: 3 }, async () => {
      const command = new Deno.Command(process.execPath, {
        args: ["eval", "--no-check", "--config", config, code],
      });
      const { stdout, stderr, success } = await command.output();
      assert.ok(success, new TextDecoder().decode(stderr));
      return new TextDecoder().decode(stdout).trim();
    }));
    assert.match(said[0]!, /^A/);
    assert.equal(new Set(said).size, 1);
    assert.equal((await loadServiceKeys(path)).issuer.publicKey, said[0]);
  });
});

Deno.test({
  name: "a file that others may read or write is refused, by its mode",
  ignore: !unix,
  async fn() {
    await inDir(async (dir) => {
      const path = join(dir, "service.keys");
      await loadServiceKeys(path, create);
      for (const mode of [0o644, 0o640, 0o602, 0o610]) {
        chmodSync(path, mode);
        await failsWith("refused", () => loadServiceKeys(path, create), /has mode 0/);
      }
      chmodSync(path, 0o400);
      await loadServiceKeys(path);
    });
  },
});

Deno.test({
  name: "a file of another user is refused, one of root is not",
  ignore: !unix,
  async fn() {
    await inDir(async (dir) => {
      const path = join(dir, "service.keys");
      await loadServiceKeys(path, create);
      const { getuid } = process;
      const own = getuid!();
      process.getuid = () => own + 1;
      try {
        if (own === 0) await loadServiceKeys(path);
        else await failsWith("refused", () => loadServiceKeys(path), /belongs to another user/);
        if (own === 0) {
          chownSync(path, 2, 2);
          await failsWith("refused", () => loadServiceKeys(path), /belongs to another user/);
        }
      } finally {
        process.getuid = getuid!;
      }
    });
  },
});

Deno.test("a damaged file is refused and never replaced, and no message holds a seed", async () => {
  await inDir(async (dir) => {
    const path = join(dir, "service.keys");
    const keys = await loadServiceKeys(path, create);
    const whole = readFileSync(path, "utf8");
    const value = JSON.parse(whole);
    const damaged: [string, "corrupt" | "unsupported"][] = [
      ["", "corrupt"],
      [whole.slice(0, -20), "corrupt"],
      ["null", "corrupt"],
      ["[]", "corrupt"],
      [JSON.stringify({ ...value, format: "other" }), "corrupt"],
      [JSON.stringify({ ...value, service: undefined }), "corrupt"],
      [JSON.stringify({ ...value, service: value.issuer }), "corrupt"],
      [JSON.stringify({ ...value, system: value.service }), "corrupt"],
      [JSON.stringify({ ...value, issuer: keys.issuer.publicKey }), "corrupt"],
      [whole.replace(value.issuer, value.issuer.slice(0, -3) + "AAA"), "corrupt"],
      [JSON.stringify({ ...value, version: 2 }), "unsupported"],
    ];
    for (const [text, code] of damaged) {
      writeFileSync(path, text);
      const message = await failsWith(code, () => loadServiceKeys(path, create));
      for (const seed of seedsOf(keys)) assert.ok(!message.includes(seed.slice(0, 12)));
      assert.equal(readFileSync(path, "utf8"), text);
    }
    writeFileSync(path, "x".repeat(20_000));
    await failsWith("refused", () => loadServiceKeys(path));
  });
});

Deno.test("what is no file is refused, and a disk that says no is named", async () => {
  await inDir(async (dir) => {
    mkdirSync(join(dir, "folder"), { mode: 0o700 });
    await assert.rejects(loadServiceKeys(join(dir, "folder"), create));
    writeFileSync(join(dir, "file"), "");
    await failsWith(
      "unavailable",
      () => loadServiceKeys(join(dir, "file", "keys"), create),
      /file/,
    );
    if (!unix) return;
    await loadServiceKeys(join(dir, "real"), create);
    symlinkSync("real", join(dir, "link"));
    await loadServiceKeys(join(dir, "link"));
  });
});
