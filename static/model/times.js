/** How a moment reads, in local time. Pure. */

const hours = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

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

/**
 * @param {string} time ISO 8601 @param {Date} now
 * @returns {string} the clock, with the date before it where it is of another day
 */
export function dated(time, now) {
  const moment = new Date(time);
  if (moment.toDateString() === now.toDateString()) return clock(time);
  const day = moment.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
  return `${day}, ${clock(time)}`;
}
