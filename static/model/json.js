/** Messages back as JSON, as they were on the wire. Pure. */

/**
 * @param {unknown} value whole reals as `{"$real": "1.0"}`, the way `client.js` hands them over
 * @returns {string} the same as the service wrote it: `1.0`
 */
export function jsonOf(value) {
  return written(value, "");
}

function written(value, indent) {
  if (value === null || typeof value !== "object") return JSON.stringify(value ?? null);
  const whole = value.$real;
  if (typeof whole === "string" && !whole.endsWith("Infinity")) return whole;
  const inner = `${indent}  `;
  if (Array.isArray(value)) {
    const items = value.map((item) => inner + written(item, inner));
    return items.length ? `[\n${items.join(",\n")}\n${indent}]` : "[]";
  }
  const fields = Object.entries(value).map(([name, field]) => `${JSON.stringify(name)}: ${written(field, inner)}`);
  const line = `{${fields.join(", ")}}`;
  return line.length <= 100 && !line.includes("\n")
    ? line
    : `{\n${fields.map((field) => inner + field).join(",\n")}\n${indent}}`;
}
