/**
 * QR codes as SVG.
 *
 * @module
 */

import type { JSX } from "preact";
import { encode } from "uqr";

/** A QR code: always dark on light, for many readers know no other. */
export function QrCode({ text, label }: { text: string; label: string }): JSX.Element {
  const { size, data } = encode(text, { ecc: "M", border: 4 });
  const path = data.flatMap((row, y) => row.map((isDark, x) => isDark ? `M${x} ${y}h1v1h-1z` : ""))
    .join("");
  return (
    <svg class="qr" role="img" aria-label={label} viewBox={`0 0 ${size} ${size}`}>
      <rect width={size} height={size} fill="#fff" />
      <path d={path} fill="#000" shape-rendering="crispEdges" />
    </svg>
  );
}
