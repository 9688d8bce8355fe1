// Live plots of what the servers say about themselves, over the time that this page has watched them.

import { byId, duration, h } from "/console/dom.js";
import { plot } from "/console/plot.js";
import { othersInFlight } from "/console/stack.js";

const PLOTS = [
  ["Requests", "per second", [["requests", (stats) => stats.requests?.per_second]]],
  ["Latency", "ms", [
    ["p50", (stats) => stats.latency_ms?.total?.p50],
    ["p99", (stats) => stats.latency_ms?.total?.p99],
  ]],
  ["Inference", "ms per batch", [
    ["p50", (stats) => stats.latency_ms?.infer?.p50],
    ["p99", (stats) => stats.latency_ms?.infer?.p99],
  ]],
  ["Work", "requests", [
    ["in flight", othersInFlight],
    ["queued", (stats) => stats.queue?.depth],
  ]],
  ["Failures", "in all", [["failed", (stats) => stats.requests?.errors]]],
  ["Memories", "stored", [["memories", (stats) => stats.total_memories]]],
  ["Texts", "embedded in all", [["texts", (stats) => stats.texts]]],
  ["GPU memory", "GB", [["allocated", (stats) => stats.gpu?.allocated], ["most", (stats) => stats.gpu?.max_allocated]]],
  ["GPU", "% busy", [["utilization", (stats) => stats.gpu?.utilization]]],
];

export function makeMetrics(stack) {
  const panel = byId("metrics");
  const show = () => {
    if (!panel.hidden) byId("plots").replaceChildren(...stack.servers.map(section));
  };
  stack.addEventListener("change", show);
  return show;
}

function section(server) {
  const { name, history, state, reason } = server;
  const label = `${name}${state === "ready" ? "" : ` – ${reason}`}`;
  return h("section", { "aria-label": `Plots of ${name}` }, h("h2", {}, label), ...charts(history));
}

function charts(history) {
  if (history.length < 2) return [h("p", {}, "The first plots appear after a few seconds.")];
  const times = history.map(({ at }) => at);
  const watched = duration((times.at(-1) - times[0]) / 1000);
  const drawn = PLOTS.map(([title, unit, series]) => {
    const read = series.map(([name, pick]) => ({ name, values: history.map(({ stats }) => pick(stats) ?? null) }));
    const isMeasured = read.some(({ values }) => values.some((value) => value != null));
    return isMeasured ? plot(title, unit, times, read) : null;
  });
  return [h("p", { className: "meta" }, `the last ${watched}, read every 2 s`),
    h("div", { className: "plots" }, drawn.filter(Boolean))];
}
