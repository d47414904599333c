import assert from "node:assert/strict";
import { failureOf } from "../../../src/client/http/failure.ts";
import { StoreError, type StoreErrorCode } from "../../../src/core/errors.ts";
import { problemOf } from "../../../src/http/pipeline/problem.ts";

/** What a client makes of the answer to an error. */
async function through(code: StoreErrorCode) {
  const error = new StoreError(code, "Writing it: it is read-only", {
    field: "path",
    hint: "name another place",
  });
  const { status, headers, body } = problemOf(error, "r1");
  return await failureOf(new Response(JSON.stringify(body), { status, headers }), "PUT /it");
}

Deno.test("a refusal keeps its field and its hint on the way to the client", async () => {
  const { code, field, hint, message } = await through("refused");
  assert.deepEqual({ code, field, hint, message }, {
    code: "refused",
    field: "path",
    hint: "name another place",
    message: "Writing it: it is read-only",
  });
});

Deno.test("what failed inside the server gives no field and no hint", async () => {
  for (const  of of["unavailable", "corrupt"] as const) {
    const { code, field, hint, message } = await through(of);
    assert.deepEqual({ code, field, hint }, { code: of, field: undefined, hint: undefined });
    assert.doesNotMatch(message, /read-only/);
  }
});
