/**
 * The part of the documentation that does something: a request, signed by the keys that this browser keeps.
 *
 * @module
 */

import { render } from "preact";
import { Try } from "./try.tsx";

const place = document.getElementById("try");
// The server wrote which requests there are.
const paths = (place?.dataset["paths"] ?? "").split(" ").filter((it) => it !== "");
if (place !== null && paths.length > 0) {
  // What stands there without a script.
  place.replaceChildren();
  render(<Try paths={paths} />, place);
}
