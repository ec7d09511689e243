/** How a moment reads, in local time. Pure. */

// Made once: to make one takes longer than all else about a changeset.
const hours = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const days = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium" });

/** @param {string | number | Date} time @returns {string} such as `12:03:11` */
export function seconds(time) {
  return hours.format(new Date(time));
}

/** @param {string | number | Date} time @returns {string} such as `.123`, what `seconds` leaves out */
export function fraction(time) {
  return `.${String(new Date(time).getMilliseconds()).padStart(3, "0")}`;
}

/** @param {string | number | Date} time @returns {string} such as `12:03:11.123` */
export function clock(time) {
  return seconds(time) + fraction(time);
}

/** @param {string | number | Date} time @returns {string} such as `22 Nov 2026, 12:03:11` */
export function whole(time) {
  return `${days.format(new Date(time))}, ${seconds(time)}`;
}

/**
 * @param {string} time ISO 8601 @param {Date} now
 * @returns {string} the clock, with the date before it where it is of another day
 */
export function dated(time, now) {
  const moment = new Date(time);
  if (moment.toDateString() === now.toDateString()) return clock(time);
  return `${days.format(moment)}, ${clock(time)}`;
}
