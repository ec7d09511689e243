/** About how much memory a message takes, without measuring it. Pure. */

const OVERHEAD = 100; // of a message or change without its texts

/**
 * @param {object | null} message of the protocol.
 * @returns {number} about its characters.
 */
export function weigh(message) {
  let weight = OVERHEAD;
  for (const { before, after } of message?.changes ?? []) {
    weight += OVERHEAD + weighRow(before) + weighRow(after);
  }
  return weight;
}

/** @param {object | null} row @returns {number} about its characters. */
export function weighRow(row) {
  let characters = 0;
  for (const value of Object.values(row ?? {})) {
    if (typeof value === "string") characters += value.length;
    else characters += value?.$blob?.length ?? value?.$text?.length ?? 8;
  }
  return characters;
}
