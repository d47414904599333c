/**
 * The page in which members of rooms talk.
 *
 * @module
 */

import { render } from "preact";
import { App } from "./app.tsx";

render(<App />, document.getElementById("page")!);
