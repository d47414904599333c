/// <reference lib="dom" />
/**
 * The page that an invite's link opens.
 *
 * @module
 */

import { render } from "preact";
import { App } from "./app.tsx";

render(
  <>
    <header class="brand">
      <svg viewBox="0 0 32 32" width="28" height="28" aria-hidden="true">
        <rect class="brand-back" width="32" height="32" rx="7" />
        <path class="brand-front" d="M9 16h14" />
        <circle class="brand-front" cx="9" cy="16" r="2.5" />
        <circle class="brand-front" cx="16" cy="16" r="2.5" />
        <circle class="brand-front" cx="23" cy="16" r="2.5" />
      </svg>
      <span class="brand-name">unibus</span>
      <span class="muted small">{location.host}</span>
    </header>
    <main class="card sheet">
      <App />
    </main>
  </>,
  document.getElementById("page")!,
);
