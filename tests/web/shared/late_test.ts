/** What a page follows: nothing is missed between a drawing and its effects, which run after the browser painted. */

import { type ComponentChild, createElement, render } from "preact";
import { useFragment } from "../../../src/web/shared/fragment.ts";
import { Names, useNameOf } from "../../../src/web/shared/names.ts";
import { until } from "../../cli/serve/kit.ts";

/** Draws a component that shows nothing; returns how to take it away, which needs no document. */
function drawn(component: () => ComponentChild): () => void {
  Object.assign(globalThis, { document: {} });
  const parent = { nodeType: 1, childNodes: [], firstChild: null } as unknown as Element;
  render(createElement(component, null), parent);
  return () => {
    render(null, parent);
    Reflect.deleteProperty(globalThis, "document");
  };
}

Deno.test("a place that is gone to while the page is being drawn is shown", async () => {
  const plain = Object.getOwnPropertyDescriptor(globalThis, "location")!;
  const location = { hash: "" };
  Object.defineProperty(globalThis, "location", { value: location, configurable: true });
  const seen: string[] = [];
  const end = drawn(() => void seen.push(useFragment()));
  location.hash = "#/users";
  dispatchEvent(new Event("hashchange"));
  try {
    await until(() => seen.at(-1) === "#/users", "place");
    location.hash = "#/rooms";
    dispatchEvent(new Event("hashchange"));
    await until(() => seen.at(-1) === "#/rooms", "next place");
  } finally {
    end();
    Object.defineProperty(globalThis, "location", plain);
  }
});

Deno.test("a name that comes while the page is being drawn is shown, and that another has it", async () => {
  const [one, other] = ["ab".repeat(32), "cd".repeat(32)] as const;
  const names = new Names({ getUser: () => new Promise(() => {}) });
  const seen: string[] = [];
  const draw = () => drawn(() => void seen.push(`${useNameOf(one, names)} ${names.isShared(one)}`));
  const learn = (signPub: string, handle: string) => names.learn([{ signPub, handle }]);
  const isShown = (text: string) => until(() => seen.at(-1) === text, text);
  const end = draw();
  learn(one, "ada");
  try {
    await isShown("ada false");
    learn(one, "eve");
    await isShown("eve false");
  } finally {
    end();
  }
  const endAgain = draw();
  learn(other, "eve");
  try {
    await isShown("eve true");
  } finally {
    endAgain();
  }
});
