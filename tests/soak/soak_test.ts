/** A minute of the soak: every call ends as it should. The hour is `deno task test:soak`. */

import assert from "node:assert/strict";
import process from "node:process";
import { soak } from "./run.ts";

Deno.test({
  name: "a minute of mixed load: no call fails, no file stays open",
  ignore: !process.env.UNIBUS_LONG,
  async fn() {
    const { rows, failures, trouble, kinds } = await soak({ minutes: 1, rate: 60 });
    assert.deepEqual(failures, []);
    assert.deepEqual(trouble, []);
    const [row] = rows;
    assert.ok(row!.fds < 100, `${row!.fds} open files`);
    for (const it of ["kicked", "talk", "register", "rekeyRoom", "getBlob", "connect, revoked"]) {
      assert.ok((kinds[it] ?? 0) > 0, `No ${it} in ${JSON.stringify(kinds)}`);
    }
  },
});
