/** Elements out of texts. Whatever comes from the database becomes text and nothing else. */

const LONGEST_NAME = 80; // characters of a table or column name

/** @param {string} id @returns {HTMLElement} */
export const byId = (id) => document.getElementById(id);

/**
 * @param {string} tag
 * @param {string} [className]
 * @param {...(Node | string)} children
 * @returns {HTMLElement}
 */
export function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** @param {string} name a name out of the database @param {string} [className] */
export function nameElement(name, className = "name") {
  const short = name.length > LONGEST_NAME ? `${name.slice(0, LONGEST_NAME)}…` : name;
  const made = element("bdi", className, short === "" ? "(empty name)" : short);
  if (short !== name) made.title = name.slice(0, 2000);
  return made;
}

/** @param {import("../model/catalog.js").Sentence} parts @returns {Node[]} */
export function sentenceNodes(parts) {
  return parts.map((part) =>
    typeof part === "string" ? document.createTextNode(part) : nameElement(part.name),
  );
}

/**
 * @param {string} tag
 * @param {Record<string, string | number>} attributes
 * @param {...Node} children
 * @returns {SVGElement}
 */
export function svgElement(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

/** A drawing beside or in place of words. @param {string} path in a box of 16 by 16 @returns {SVGElement} */
export function icon(path) {
  const attributes = { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true" };
  return svgElement("svg", attributes, svgElement("path", { d: path }));
}
