// A small line plot as SVG: one or two series over the same time, gaps where nothing was measured.

import { h, svg } from "/console/dom.js";

const WIDTH = 300;
const HEIGHT = 80;
const TOP = 16; // room above the highest line for its number

// `series`: [{name, values: [number or null]}], all of the length of `times` (epoch milliseconds).
export function plot(title, unit, times, series) {
  const most = niceMost(Math.max(0, ...series.flatMap(({ values }) => values.filter((value) => value != null))));
  const first = times[0];
  const span = Math.max(1, times.at(-1) - first);
  const lines = series.flatMap(({ values }, place) => runs(values).map((run) => svg("polyline", {
    class: `series-${place}`,
    points: run.map((at) => `${x(times[at], first, span)},${y(values[at], most)}`).join(" "),
  })));
  const now = series.map(({ name, values }) => `${name} ${shown(values.at(-1))}`).join(", ");
  const chart = svg("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img",
    "aria-label": `${title} in ${unit}: now ${now}; the top of the plot is ${most}`,
  }, grid(most), lines);
  return h("figure", { className: "plot" },
    h("figcaption", {}, h("b", {}, title), legend(series), h("span", { className: "unit" }, unit)),
    h("div", { className: "frame" }, h("span", { className: "most", "aria-hidden": "true" }, String(most)), chart));
}

function legend(series) {
  return series.map(({ name, values }, place) =>
    h("span", { className: `key series-${place}` }, `${series.length > 1 ? `${name} ` : ""}${shown(values.at(-1))}`));
}

function grid(most) {
  return [0, most / 2, most].map((value) =>
    svg("line", { x1: 0, x2: WIDTH, y1: y(value, most), y2: y(value, most) }));
}

function x(time, first, span) {
  return (((time - first) / span) * WIDTH).toFixed(1);
}

function y(value, most) {
  return (HEIGHT - 1 - (value / most) * (HEIGHT - TOP)).toFixed(1);
}

// The places of the values that are there, cut where one is missing.
function runs(values) {
  const found = [[]];
  values.forEach((value, place) => {
    if (value == null) found.push([]);
    else found.at(-1).push(place);
  });
  return found.filter((run) => run.length);
}

// 1, 2 or 5 times a power of ten, so that the top of a plot is easy to read and does not jump about.
export function niceMost(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  const factor = [1, 2, 5, 10].find((step) => step * power >= value * 0.999);
  return Number((factor * power).toPrecision(1));
}

function shown(value) {
  if (value == null) return "–";
  return Number.isInteger(value) ? String(value) : value.toPrecision(3);
}
