/** Moments of the history, in words. Pure. */

/** @param {string} time ISO 8601 @returns {string} such as `12:03:11.123`, in local time */
export function clock(time) {
  const moment = new Date(time);
  const fraction = String(moment.getMilliseconds()).padStart(3, "0");
  return `${moment.toLocaleTimeString("en-GB")}.${fraction}`;
}
