/** Bytes of a value, and how they read. Pure. */

const ROW = 16; // bytes in a line of a dump

/** @param {string} base64 @returns {Uint8Array} */
export function fromBase64(base64) {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}

/** @param {Uint8Array} bytes @returns {string} base64 */
export function toBase64(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8_192) {
    text += String.fromCharCode(...bytes.subarray(at, at + 8_192));
  }
  return btoa(text);
}

/** @param {Uint8Array} bytes @returns {string} two hexadecimal digits for each */
export function toHex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {string} base64 @returns {string} two hexadecimal digits for each byte */
export function hexOf(base64) {
  return toHex(fromBase64(base64));
}

/**
 * @param {string} text hexadecimal digits in pairs; spaces between them are allowed, and `x'…'`
 * @returns {Uint8Array | null} null if it is something else
 */
export function fromHex(text) {
  const digits = text.trim().replace(/^x'(.*)'$/is, "$1").replace(/\s+/g, "");
  if (digits.length % 2 || /[^0-9a-f]/i.test(digits)) return null;
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

/**
 * Lines of a dump: place, hexadecimal, and what is printable of it.
 * @param {Uint8Array} bytes
 * @param {number} from first byte, a multiple of 16
 * @param {number} lines at most
 * @returns {string}
 */
export function dump(bytes, from, lines) {
  const made = [];
  for (let at = from; at < bytes.length && made.length < lines; at += ROW) {
    const part = bytes.subarray(at, at + ROW);
    const hex = Array.from(part, (byte) => byte.toString(16).padStart(2, "0"));
    const columns = `${hex.slice(0, 8).join(" ")}  ${hex.slice(8).join(" ")}`.padEnd(ROW * 3);
    const text = Array.from(part, (byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : "·"));
    made.push(`${at.toString(16).padStart(8, "0")}  ${columns}  ${text.join("")}`);
  }
  return made.join("\n");
}

/**
 * What kind of file bytes look like, by how they begin.
 * @param {Uint8Array} bytes
 * @returns {{name: string, extension: string} | null}
 */
export function fileKind(bytes) {
  const begins = (...start) => start.every((byte, at) => bytes[at] === byte);
  if (begins(0x89, 0x50, 0x4e, 0x47)) return { name: "PNG image", extension: "png" };
  if (begins(0xff, 0xd8, 0xff)) return { name: "JPEG image", extension: "jpg" };
  if (begins(0x47, 0x49, 0x46, 0x38)) return { name: "GIF image", extension: "gif" };
  if (begins(0x25, 0x50, 0x44, 0x46)) return { name: "PDF document", extension: "pdf" };
  if (begins(0x50, 0x4b, 0x03, 0x04)) return { name: "ZIP archive", extension: "zip" };
  if (begins(0x1f, 0x8b)) return { name: "gzip file", extension: "gz" };
  if (begins(0x53, 0x51, 0x4c, 0x69, 0x74, 0x65)) return { name: "SQLite database", extension: "db" };
  return null;
}
