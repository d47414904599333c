/**
 * Reads QR codes as a camera does.
 *
 * @module
 */

import decode from "qr/decode.js";

/** Pixels of a module's side. */
const SIDE = 4;

/** Reads the text of a square QR code; `isDark` says which modules are dark. */
export function readQr(size: number, isDark: (x: number, y: number) => boolean): string {
  const width = size * SIDE;
  const data = new Uint8Array(width * width * 4).fill(255);
  for (let y = 0; y < width; y++) {
    for (let x = 0; x < width; x++) {
      if (isDark(Math.floor(x / SIDE), Math.floor(y / SIDE))) {
        data.fill(0, (y * width + x) * 4, (y * width + x) * 4 + 3);
      }
    }
  }
  return decode({ width, height: width, data });
}
