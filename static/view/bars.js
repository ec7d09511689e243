/** Stacked bars on a canvas. What is told by colour is told by pattern and by place as well. */

import { OPS } from "../model/filter.js";
import { ceiling } from "../model/rates.js";

const TOP = 14; // CSS pixels above the bars, for the figure of the axis
const FOOT = 16; // below them, for the times
const TILE = 6; // CSS pixels of a pattern

const figure = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

/**
 * @typedef {object} Look
 * @property {string[]} colours of the operations, in the order of `OPS`.
 * @property {string} line @property {string} quiet @property {string} ground
 */

/**
 * @param {HTMLCanvasElement} canvas as large on screen as its style says
 * @param {import("../model/rates.js").Bar[]} bars
 * @param {{step: number, chosen: number | null, look: Look, ago: string}} options `step` in
 *   seconds, `chosen` the index of a bar to be marked, `ago` words for the beginning.
 */
export function drawBars(canvas, bars, { step, chosen, look, ago }) {
  const ratio = devicePixelRatio || 1;
  const { width, height } = canvas.getBoundingClientRect();
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const paint = canvas.getContext("2d");
  paint.scale(ratio, ratio);
  const most = ceiling(Math.max(1, ...bars.map(({ total }) => total / step)));
  const floor = height - FOOT;
  axis(paint, { width, floor, most, look, ago });
  const fills = look.colours.map((colour, index) => pattern(paint, OPS[index], colour, look.ground, ratio));
  const room = width / bars.length;
  const scale = (floor - TOP) / (most * step);
  bars.forEach((bar, index) => {
    const left = Math.round(index * room * ratio) / ratio;
    const wide = Math.max(1, Math.round((room - (room > 4 ? 1 : 0)) * ratio) / ratio);
    if (index === chosen) {
      paint.fillStyle = look.line;
      paint.fillRect(left, TOP, wide, floor - TOP);
    }
    stack(paint, bar, { left, wide, floor, scale, fills, look });
  });
}

function stack(paint, { counts, total }, { left, wide, floor, scale, fills, look }) {
  if (total === 0) return;
  // However small beside the largest: what happened is seen.
  const factor = Math.max(scale, 2 / total);
  let bottom = floor;
  counts.forEach((count, index) => {
    if (count === 0) return;
    const tall = count * factor;
    paint.fillStyle = fills[index];
    paint.fillRect(left, bottom - tall, wide, tall);
    paint.fillStyle = look.colours[index];
    paint.fillRect(left, bottom - tall, wide, Math.min(1, tall)); // an edge between two patterns
    bottom -= tall;
  });
}

function axis(paint, { width, floor, most, look, ago }) {
  paint.font = "11px system-ui, sans-serif";
  paint.fillStyle = look.line;
  for (const part of [0, 0.5, 1]) {
    paint.fillRect(0, Math.round(TOP + (floor - TOP) * part) - 0.5, width, 1);
  }
  paint.fillStyle = look.quiet;
  paint.textBaseline = "bottom";
  paint.fillText(`${figure.format(most)} per second`, 0, TOP - 1);
  paint.textBaseline = "top";
  paint.fillText(ago, 0, floor + 4);
  paint.textAlign = "right";
  paint.fillText("now", width, floor + 4);
}

/**
 * Insert is solid, update striped aslant, delete striped across, schema dotted: told apart in grey.
 * @param {CanvasRenderingContext2D} paint
 * @param {string} op @param {string} colour @param {string} ground
 * @param {number} ratio device pixels to a CSS pixel
 * @returns {string | CanvasPattern}
 */
export function pattern(paint, op, colour, ground, ratio) {
  if (op === "insert") return colour;
  const size = Math.max(4, Math.round(TILE * ratio));
  const tile = document.createElement("canvas");
  tile.width = tile.height = size;
  const draw = tile.getContext("2d");
  draw.fillStyle = ground;
  draw.fillRect(0, 0, size, size);
  draw.fillStyle = draw.strokeStyle = colour;
  if (op === "update") {
    draw.lineWidth = size / 3;
    for (const shift of [-size, 0, size]) {
      draw.beginPath();
      draw.moveTo(shift - 1, size + 1);
      draw.lineTo(shift + size + 1, -1);
      draw.stroke();
    }
  } else if (op === "delete") draw.fillRect(0, 0, size, size / 2);
  else {
    draw.beginPath();
    draw.arc(size / 2, size / 2, size / 3.2, 0, 2 * Math.PI);
    draw.fill();
  }
  const made = paint.createPattern(tile, "repeat");
  made.setTransform(new DOMMatrix().scale(1 / ratio));
  return made;
}
