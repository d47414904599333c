/**
 * A start that finds its file frozen by a switch: it waits for the bucket and says so, and an operator can
 * call the move off where the bucket is gone for good.
 *
 * @module
 */

import assert from "node:assert/strict";
import { connect } from "@nats-io/transport-node";
import { askJourney, type JourneyRequest } from "../../../../cli/cluster/journey.ts";
import type { Bus } from "../../../../cli/serve/bus.ts";
import { settleHere } from "../../../../cli/serve/journey/start/settle.ts";
import { Page } from "../../../../cli/serve/node/page.ts";
import type { Surroundings } from "../../../../cli/serve/parts.ts";
import { writeNode } from "../../../../cli/settings/node.ts";
import { openSqlite } from "../../../../mod.ts";
import { JourneyFile } from "../../../../src/sqlite/file/journey/file.ts";
import { freePorts, testServer } from "../../../helpers/nats.ts";
import { failsWith, inDir, person } from "../../../helpers/sqlite.ts";
import { populate } from "../../../move/kit.ts";
import { until } from "../kit.ts";

Deno.test("a frozen file whose bucket is gone is waited for, and called off by an operator's word", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const db = `${dir}/unibus.db`;
    {
      await using store = openSqlite(db);
      await populate(store);
    }
    {
      using file = new JourneyFile(db);
      await file.freeze(await file.begin({ bucket: "UNIBUS", servers: [server.url] }), 5000);
    }
    await writeNode(db, {
      ...{ name: "n1", cluster: "bus", plan: "p", state: "clustered" as const },
      ...{ settings: {}, alone: {} },
    });
    const [httpPort] = await freePorts(1) as [number];
    const ending = new AbortController();
    const listening = { settings: { db, bind: "127.0.0.1", httpPort }, found: { pair: null } };
    const page = new Page(listening as ConstructorParameters<typeof Page>[0]);
    const around = {
      ...listening,
      page,
      signal: ending.signal,
      log: () => {},
    } as unknown as Surroundings;
    const connection = await connect({ servers: server.url });
    const ask = (request: JourneyRequest) => askJourney(connection, "n1", request);
    const settling = settleHere(around, { connection } as unknown as Bus, "UNIBUS");
    try {
      const said = async () => {
        const { error } = await ask({ op: "status" }).catch(() => ({ error: null }));
        return error !== null && /stream not found/.test(error.message);
      };
      await until(said, "the reason");
      const { state, serves, error } = await ask({ op: "status" });
      assert.deepEqual([state, serves], ["paused", "file"]);
      assert.match(error!.hint!, /--call-off --force: .* revocations are lost/);
      const ready = await fetch(`http://127.0.0.1:${httpPort}/readyz`);
      assert.equal(ready.status, 503);
      assert.match(await ready.text(), /whether the control plane has moved .*stream not found/);
      await failsWith("refused", () => ask({ op: "call-off" }), /finding out whether/);
      await failsWith("refused", () => ask({ op: "grow", force: true }), /finding out whether/);
      const answer = await ask({ op: "call-off", force: true });
      assert.deepEqual([answer.state, answer.error], ["called-off", null]);
      assert.equal(await settling, true);
    } finally {
      ending.abort();
      await settling.catch(() => {});
      await page.close();
      await connection.close();
    }
    await using store = openSqlite(db);
    await store.addUser(person("after"));
  }));
