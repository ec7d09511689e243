/** The list of tables as a thing of the keyboard: one stop for Tab, arrows within, a filter above. */

/**
 * Lets arrows move through the entries that are shown, and the filter lead to them.
 * @param {HTMLElement} list
 * @param {HTMLInputElement} filter
 * @param {{entries: () => import("./table_entry.js").TableEntry[], onFilter: () => void,
 *   onEnter: (name: string) => void}} tables the entries in their order, shown or not.
 */
export function navigate(list, filter, { entries, onFilter, onEnter }) {
  const shown = () => entries().filter(({ root }) => !root.hidden);
  filter.addEventListener("input", onFilter);
  filter.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    const [first] = shown();
    if (event.key === "ArrowDown" && first) first.button.focus();
    else if (event.key === "Enter" && first) onEnter(first.button.value);
    else if (event.key === "Escape" && filter.value !== "") {
      filter.value = "";
      event.stopPropagation(); // one thing at a time: the drawer stays open
      onFilter();
    } else return;
    event.preventDefault();
  });
  list.addEventListener("keydown", (event) => {
    const those = shown();
    const at = those.findIndex(({ root }) => root.contains(event.target));
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: those.length - 1 }[event.key];
    if (to === undefined || at < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    (those[to]?.button ?? (to < 0 ? filter : those[at].button)).focus();
  });
  list.addEventListener("focusin", ({ target }) => {
    for (const entry of entries()) entry.reachable = entry.root.contains(target);
  });
}
