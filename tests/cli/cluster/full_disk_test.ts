import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { parseJoin } from "../../../cli/cluster/plan/join_file.ts";
import { natsBinary } from "../../helpers/nats.ts";
import { inDir } from "../../helpers/sqlite.ts";
import { canMount, toolTest } from "../../helpers/tools.ts";
import { changed, firstServer } from "./kit.ts";

const MAIN = fileURLToPath(new URL("../../../cli/main.ts", import.meta.url));

toolTest({
  name: "a disk that is full while a machine joins leaves no half node; with room it joins",
  tools: ["unshare"],
  why: canMount() ? null : "no user namespace can be made",
  fn: () =>
    inDir(async (dir) => {
      await using n1 = await firstServer(dir);
      await n1.plan();
      const path = `${dir}/n2.join`;
      const { needs } = await parseJoin(readFileSync(path, "utf8")).open();
      assert.ok(needs.disk > 2 ** 28);
      // The check would find it first.
      await changed(path, {}, (it) => ({ ...it, needs: { ...it.needs, disk: 1 } }));
      await mkdir(`${dir}/n2`);
      const join =
        `"${Deno.execPath()}" run -A "${MAIN}" join "${path}" --dir "${dir}/n2" --no-start`;
      const script = [
        `mount -t tmpfs -o size=16k tmpfs "${dir}/n2"`,
        `${join}; echo "code $?"; ls -A "${dir}/n2"`,
        `echo then; mount -o remount,size=1m "${dir}/n2"`,
        `${join}; echo "code $?"; ls -A "${dir}/n2"`,
      ].join("\n");
      writeFileSync(`${dir}/script.sh`, script);
      const { stdout, stderr } = await new Deno.Command("unshare", {
        args: ["-Urm", "sh", `${dir}/script.sh`],
        env: { NO_COLOR: "1", UNIBUS_NATS_SERVER: (await natsBinary()).path },
      }).output();
      const [text, said] = [stdout, stderr].map((it) => new TextDecoder().decode(it));
      const [before, after] = text!.split("then\n");
      assert.match(said!, /^error: Writing .*\/n2\/.*: the disk is full/m);
      assert.match(before!, /^code 1$/m);
      assert.doesNotMatch(before!, /node\.json|\.tmp/);
      assert.match(after!, /^joined as n2 of cluster bus[^]*^code 0$[^]*^node\.json$/m);
    }),
});
