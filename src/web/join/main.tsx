/**
 * The page that an invite's link opens.
 *
 * @module
 */

import { render } from "preact";
import { Logo } from "../shared/ui/page.tsx";
import { App } from "./app.tsx";

render(
  <>
    <header class="brand">
      <Logo />
      <span class="brand-name">unibus</span>
      <span class="muted small">{location.host}</span>
    </header>
    <main class="card sheet stack">
      <App />
    </main>
  </>,
  document.getElementById("page")!,
);
