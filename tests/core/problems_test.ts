import assert from "node:assert/strict";
import { Problems } from "../../src/core/checks/problems.ts";

Deno.test("an error lists ten invalid records, and counts those that it leaves out", () => {
  const problems = new Problems();
  const add = () =>
    problems.add({
      ...{ kind: "users", key: `users ${problems.total}`, field: "handle", value: "x" },
      ...{ message: "is bad", repairable: false },
    });
  for (let i = 0; i < 10; i++) add();
  const { message } = problems.error("refused", "Move");
  assert.match(message, /^Move: 10 records are invalid \(users: 10\).*users 0.*users 9/);
  assert.doesNotMatch(message, /; and /);
  add();
  assert.match(problems.error("refused", "Move").message, /users 9[^;]*; and 1 more$/);
});
