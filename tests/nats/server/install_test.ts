import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { cp, mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import {
  ensureNatsServer,
  findNatsServer,
  installNatsServer,
} from "../../../src/nats/server/binary.ts";
import { NATS_SERVER_RELEASE } from "../../../src/nats/server/release.ts";
import { RELEASE_DIGESTS } from "../../../src/nats/server/release_digests.ts";
import { natsBinary } from "../../helpers/nats.ts";

type Handler = (response: ServerResponse) => void;

/** A release that is not the default one, so that its published checksum counts. */
const OTHER = "2.15.99";

/** The real server as an archive of some release, and its place on a download site. */
async function realArchive(release = OTHER) {
  const { path, version } = await natsBinary();
  const os = { darwin: "darwin", windows: "windows" }[Deno.build.os as string] ?? "linux";
  const arch = Deno.build.arch === "aarch64" ? "arm64" : "amd64";
  const stem = `nats-server-v${release}-${os}-${arch}`;
  const directory = await mkdtemp(join(tmpdir(), "unibus-test-archive-"));
  await mkdir(join(directory, stem));
  await cp(path, join(directory, stem, "nats-server"), { dereference: true });
  execFileSync("tar", ["--use-compress-program=gzip -1", "-cf", "a", stem], { cwd: directory });
  const bytes = await readFile(join(directory, "a"));
  await rm(directory, { recursive: true });
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  return { release, version, name: `${stem}.tar.gz`, bytes, sha256 };
}

let archive: ReturnType<typeof realArchive> | undefined;

/** A download site on loopback that serves the archive, and an empty cache. */
async function site(
  change: { sums?: string | undefined; archive?: Handler; of?: typeof archive } = {},
) {
  const release = await (change.of ?? (archive ??= realArchive()));
  const directory = await mkdtemp(join(tmpdir(), "unibus-test-install-"));
  const sums = "sums" in change ? change.sums : `${release.sha256}  ${release.name}\n`;
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const path = `/mirror/v${release.release}`;
    asked.push(request.url!);
    if (request.url === `${path}/SHA256SUMS` && sums !== undefined) response.end(sums);
    else if (request.url === `${path}/${release.name}`) {
      (change.archive ?? ((response) => response.end(release.bytes)))(response);
    } else response.writeHead(404).end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const cache = join(directory, "unibus", "nats-server");
  const options = {
    env: {
      PATH: "",
      XDG_CACHE_HOME: directory,
      UNIBUS_NATS_RELEASES: `http://127.0.0.1:${port}/mirror/`,
    },
    sources: ["release"] as const,
    version: release.release,
  };
  return {
    asked,
    release,
    options,
    path: join(cache, release.version, "nats-server"),
    cached: () => readdir(cache),
    async [Symbol.asyncDispose]() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
      await rm(directory, { recursive: true, force: true });
    },
  };
}

// The archive would need the platform's own names and tools; the code is the same.
const unix = Deno.build.os !== "windows";

Deno.test({
  name: "installNatsServer() installs the release that matches its published checksum",
  ignore: !unix,
  async fn() {
    await using place = await site();
    const lines: string[] = [];
    const { path, options, release: { version } } = place;
    const binary = await installNatsServer({ ...options, log: (line) => lines.push(line) });
    assert.deepEqual(binary, { path, version, source: "cache" });
    assert.deepEqual(await findNatsServer(options), binary);
    assert.deepEqual(await place.cached(), [version]);
    assert.match(lines.join("\n"), /Downloading http:.*\nInstalled nats-server/);
  },
});

Deno.test({
  name: "installNatsServer() refuses a release with another checksum and tries nothing else",
  ignore: !unix,
  async fn() {
    await using place = await site();
    const sums = `${"0".repeat(64)}  ${place.release.name}\n`;
    await using wrong = await site({ sums });
    await assert.rejects(
      installNatsServer({ ...wrong.options, sources: ["release", "debian"] }),
      (error: Error & { code: string }) => {
        assert.equal(error.code, "mismatch");
        assert.match(
          error.message,
          /^Refused http:.* its SHA-256 is .*, expected 0{64}$/,
        );
        return true;
      },
    );
    assert.deepEqual(await wrong.cached(), []);
  },
});

const failures: Record<string, { change: Parameters<typeof site>[0]; message: RegExp }> = {
  "without published checksums": { change: { sums: undefined }, message: /SHA256SUMS.*404/ },
  "that the checksums do not list": {
    change: { sums: `${"0".repeat(64)}  something-else.tar.gz\n` },
    message: /SHA256SUMS does not list nats-server-v/,
  },
  "that is not there": {
    change: { archive: (response) => response.writeHead(404).end() },
    message: /answered 404/,
  },
  "whose download breaks off": {
    change: {
      archive: (response) => {
        response.writeHead(200, { "content-length": 1_000_000 });
        response.write(new Uint8Array(1000), () => response.destroy());
      },
    },
    message: /Downloading .* failed/,
  },
};

for (const [name, { change, message }] of Object.entries(failures)) {
  Deno.test({
    name: `installNatsServer() installs no release ${name}`,
    ignore: !unix,
    async fn() {
      await using place = await site(change);
      await assert.rejects(
        installNatsServer(place.options),
        (error: Error & { code: string }) => {
          assert.equal(error.code, "unavailable");
          assert.match(error.message, message);
          return true;
        },
      );
      assert.deepEqual(await place.cached(), []);
    },
  });
}

Deno.test({
  name: "installNatsServer() installs nothing that matches its checksum and does not run",
  ignore: !unix,
  async fn() {
    const { name, release: version } = await (archive ??= realArchive());
    const stem = name.replace(".tar.gz", "");
    const directory = await mkdtemp(join(tmpdir(), "unibus-test-broken-"));
    await mkdir(join(directory, stem));
    const make = `echo nonsense > ${stem}/nats-server && tar -czf a ${stem}`;
    execFileSync("/bin/sh", ["-c", make], { cwd: directory });
    const bytes = await readFile(join(directory, "a"));
    await rm(directory, { recursive: true });
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    await using place = await site({
      sums: `${sha256}  ${name}\n`,
      archive: (response) => response.end(bytes),
    });
    await assert.rejects(
      installNatsServer({ ...place.options, version }),
      /--version failed/,
    );
    assert.deepEqual(await place.cached(), []);
  },
});

Deno.test({
  name: "two installNatsServer() at once both succeed, also over a damaged entry",
  ignore: !unix,
  async fn() {
    await using place = await site();
    await mkdir(join(place.path, ".."), { recursive: true });
    execFileSync("/bin/sh", ["-c", 'echo nonsense > "$1"; chmod +x "$1"', "sh", place.path]);
    const both = await Promise.all([
      ensureNatsServer(place.options),
      ensureNatsServer(place.options),
    ]);
    assert.deepEqual(both.map((binary) => binary.path), [place.path, place.path]);
    assert.equal((await findNatsServer(place.options)).path, place.path);
    assert.deepEqual(await place.cached(), [place.release.version]);
  },
});

Deno.test({
  name: "an aborted installNatsServer() leaves nothing behind",
  ignore: !unix,
  async fn() {
    const controller = new AbortController();
    await using place = await site({
      archive: (response) => {
        response.writeHead(200, { "content-length": 1_000_000 });
        response.write(new Uint8Array(1000), () => controller.abort());
      },
    });
    const began = performance.now();
    await assert.rejects(
      installNatsServer({ ...place.options, signal: controller.signal }),
      { code: "aborted" },
    );
    // At once, not when the download would have been given up.
    assert.ok(performance.now() - began < 15_000);
    assert.deepEqual(await place.cached(), []);
  },
});

Deno.test({
  name: "ensureNatsServer() says everything it tried when there is none to be had",
  ignore: !unix,
  async fn() {
    await using place = await site({ sums: undefined });
    await assert.rejects(ensureNatsServer(place.options), (error: Error & { code: string }) => {
      assert.equal(error.code, "unavailable");
      const tried = ["UNIBUS_NATS_SERVER: not set", "PATH: not found", "cache: not found"];
      for (const line of [...tried, "official release: Downloading http", "or set UNIBUS_NATS_"]) {
        assert.ok(error.message.includes(line), error.message);
      }
      return true;
    });
  },
});

Deno.test({
  name: "the default release is judged by digests in the source alone, whatever the site publishes",
  ignore: !unix,
  async fn() {
    await using place = await site({ of: realArchive(NATS_SERVER_RELEASE) });
    const { name, sha256 } = place.release;
    const install = installNatsServer(place.options);
    const known = RELEASE_DIGESTS[name];
    // The site's list has the digest of what it serves, and nobody asks for it.
    const expected = known === undefined
      ? { code: "unavailable", message: new RegExp(`has no SHA-256 of ${name}`) }
      : { code: "mismatch", message: new RegExp(`${sha256}, expected ${known}`) };
    await assert.rejects(install, expected);
    assert.ok(!place.asked.some((it) => it.endsWith("SHA256SUMS")), place.asked.join());
    assert.deepEqual(await place.cached(), []);
    // Digests that the caller knows count, in either case of their letters, and no others.
    const wrong = { ...place.options, sha256: "0".repeat(64) };
    await assert.rejects(installNatsServer(wrong), { code: "mismatch" });
    const { path } = await installNatsServer({ ...place.options, sha256: sha256.toUpperCase() });
    assert.equal(path, place.path);
  },
});

Deno.test("a machine that no release is made for is named, and nothing is downloaded", async () => {
  await using place = await site();
  const arch = Object.getOwnPropertyDescriptor(process, "arch")!;
  Object.defineProperty(process, "arch", { value: "mips", configurable: true });
  try {
    await assert.rejects(
      installNatsServer(place.options),
      /No official release exists for \w+ on mips/,
    );
  } finally {
    Object.defineProperty(process, "arch", arch);
  }
  assert.deepEqual(place.asked, []);
});

Deno.test("digests in the source are of archives of the default release", () => {
  for (const [name, digest] of Object.entries(RELEASE_DIGESTS)) {
    assert.ok(name.startsWith(`nats-server-v${NATS_SERVER_RELEASE}-`) && name.endsWith(".tar.gz"));
    assert.match(digest, /^[0-9a-f]{64}$/);
  }
});

Deno.test({
  name: "installNatsServer() downloads nothing over http, nor is it redirected there",
  ignore: !unix,
  async fn() {
    await using place = await site({
      archive: (response) =>
        response.writeHead(302, { location: "http://mirror.example/nats.tar.gz" }).end(),
    });
    await assert.rejects(
      installNatsServer(place.options),
      /Downloads require https, found http:\/\/mirror\.example/,
    );
    const env = { ...place.options.env, UNIBUS_NATS_RELEASES: "http://mirror.example/nats" };
    await assert.rejects(
      installNatsServer({ ...place.options, env }),
      /Downloads require https, found http:\/\/mirror\.example/,
    );
  },
});

Deno.test({
  name: "installNatsServer() follows redirects, and not for ever",
  ignore: !unix,
  async fn() {
    let hops = 0;
    await using place = await site({
      archive: (response) => {
        if (hops++ === 3) response.end(place.release.bytes);
        else response.writeHead(302, { location: `./${place.release.name}` }).end();
      },
    });
    assert.equal((await installNatsServer(place.options)).path, place.path);
    await using plain = await site({
      archive: (response) =>
        response.writeHead(200, { location: "./elsewhere" }).end(plain.release.bytes),
    });
    assert.equal((await installNatsServer(plain.options)).path, plain.path);
    hops = 10;
    await assert.rejects(installNatsServer(place.options), /More than 5 redirects/);
  },
});

/** Why Debian's package cannot be had here, or undefined. */
function withoutDebian(): string | undefined {
  try {
    const args = ["indextargets", "--no-release-info", "--format", "$(RELEASE)"];
    const releases = execFileSync("apt-get", args, { encoding: "utf8" });
    return /bookworm|trixie|forky|sid|testing|stable/.test(releases) ? undefined : "not Debian";
  } catch {
    return "no apt-get";
  }
}

const reason = withoutDebian();

Deno.test({
  name: "installNatsServer() falls through to Debian's package when the release cannot be had" +
    (reason === undefined ? "" : ` (skipped: ${reason})`),
  ignore: reason !== undefined,
  async fn() {
    await using place = await site({ sums: undefined });
    const lines: string[] = [];
    const { path, source } = await installNatsServer({
      ...place.options,
      sources: ["release", "debian"],
      log: (line) => lines.push(line),
    });
    assert.equal(source, "cache");
    assert.equal((await findNatsServer(place.options)).path, path);
    assert.match(lines.join("\n"), /official release: Downloading .*\nDownloading Debian's/);
    assert.equal((await place.cached()).length, 1);
  },
});
