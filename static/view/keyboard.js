/** Keys for the whole page, and the dialog that tells them. */

import { openDialog } from "./dialog.js";
import { byId, element } from "./element.js";
import { goTo } from "./layout.js";

const PARTS = { t: "tables", r: "rows", c: "changes" };
const PATIENCE = 1_200; // ms between `g` and the letter after it

const OVERVIEW = [
  ["The page", [
    ["?", "This overview"],
    ["/", "Filter the tables"],
    ["g t", "Go to the tables", "Alt+1"],
    ["g r", "Go to the rows", "Alt+2"],
    ["g c", "Go to the changes", "Alt+3"],
    ["Esc", "Close what is open"],
  ]],
  ["Tables", [
    ["↑ ↓", "Move from one to the next"],
    ["Enter", "Look at the rows of this table"],
  ]],
  ["Rows", [
    ["↑ ↓ ← →", "Move from cell to cell, and to the head"],
    ["Enter", "Show the whole value; in the head: sort"],
    ["F2", "Edit the value, where it may be changed"],
    ["Del", "Delete the row, where it may be changed"],
    ["Ctrl+C", "Copy the value"],
    ["Shift+F10", "More to do with the row"],
  ]],
  ["Changes", [
    ["p", "Pause and resume the list"],
  ]],
];

const THEMES = [["", "As the system"], ["light", "Light"], ["dark", "Dark"]];

let open = null;

function showOverview(theme) {
  if (open) return;
  const groups = OVERVIEW.map(([heading, keys]) =>
    element("section", "", element("h3", "", heading), element("dl", "keys", ...keys.flatMap(keyNodes))),
  );
  const choice = element("div", "segments", ...THEMES.map(([value, name]) => themeButton(theme, value, name)));
  choice.setAttribute("role", "group");
  choice.setAttribute("aria-label", "Colours");
  const appearance = element("section", "", element("h3", "", "Colours"), choice);
  const { body, root } = openDialog("Keyboard", { onClose: () => (open = null) });
  root.id = "keyboard";
  open = root;
  body.append(...groups, appearance);
}

function keyNodes([keys, meaning, other]) {
  const shown = keys.split(" ").map((key) => element("kbd", "", key));
  if (other) shown.push(element("span", "note", "or"), element("kbd", "", other));
  return [element("dt", "", ...shown), element("dd", "", meaning)];
}

function themeButton(theme, value, name) {
  const button = element("button", "", name);
  button.type = "button";
  button.setAttribute("aria-pressed", String(theme.current === value));
  button.addEventListener("click", () => {
    theme.choose(value);
    for (const other of button.parentNode.children) {
      other.setAttribute("aria-pressed", String(other === button));
    }
  });
  return button;
}

/** Whether a key belongs to whatever has the focus. */
function isTaken({ target }) {
  if (document.querySelector("dialog[open]")) return true;
  return target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName);
}

/** @param {{current: string, choose: (theme: string) => void}} theme */
export function listen(theme) {
  let since = -Infinity; // when `g` was pressed
  byId("help").addEventListener("click", () => showOverview(theme));
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.isComposing || event.ctrlKey || event.metaKey) return;
    const isSecond = event.timeStamp - since < PATIENCE;
    since = -Infinity;
    if (isTaken(event)) return;
    const part = event.altKey
      ? Object.values(PARTS)[/^Digit[123]$/.test(event.code) ? event.code.at(-1) - 1 : -1]
      : isSecond ? PARTS[event.key] : undefined;
    if (part) goTo(part);
    else if (event.altKey) return;
    else if (event.key === "?") showOverview(theme);
    else if (event.key === "/") goTo("tables");
    else if (event.key === "g") since = event.timeStamp;
    else return;
    event.preventDefault();
  });
}
