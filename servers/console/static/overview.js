// The overview: a card for each server with its state, the reason for it, and its figures.

import { DEFAULT_PORTS, portOf } from "/console/addresses.js";
import { bytes, duration, facts, h, milliseconds } from "/console/dom.js";
import { othersInFlight } from "/console/stack.js";

const GLYPHS = { ready: "●", busy: "◐", down: "○" };
const WORDS = { ready: "ready", busy: "starting", down: "not reachable" };

export function makeOverview(place, stack) {
  const cards = new Map();
  stack.addEventListener("servers", () => {
    cards.clear();
    for (const server of stack.servers) cards.set(server, makeCard(server));
    place.replaceChildren(...cards.values());
  });
  stack.addEventListener("change", ({ detail: server }) => {
    const card = cards.get(server);
    if (card) draw(card, server);
  });
}

function makeCard(server) {
  const title = h("h2", {}, server.name);
  // What a screen reader should speak when it changes; the figures below change all the time and stay silent.
  const state = h("p", { className: "state", role: "status" });
  const progress = h("progress", { max: 1, hidden: true, "aria-label": `how far ${server.name} has loaded` });
  const card = h("article", { className: "card", "aria-label": server.name }, title, state, progress, h("dl"));
  card.dataset.server = server.name;
  draw(card, server);
  return card;
}

function draw(card, server) {
  const { state, reason, stats, watch } = server;
  card.dataset.state = state;
  const word = state === "busy" && watch?.state !== "open" ? "connecting" : WORDS[state];
  const line = `${GLYPHS[state]} ${word}${reason ? ` – ${reason}` : ""}`;
  const status = card.querySelector(".state");
  if (status.textContent !== line) status.textContent = line;
  const share = server.health?.progress;
  const progress = card.querySelector("progress");
  progress.hidden = state !== "busy" || share == null;
  if (share != null) progress.value = share;
  card.querySelector("dl").replaceWith(figures(server, stats));
}

function figures({ url, kind }, stats) {
  const port = Number(portOf(url));
  const isFallback = kind === "inference" && port > DEFAULT_PORTS.inference && port <= 5014;
  const rows = [["address", url], ["note", isFallback ? "fallback port: clients that only know 5005 miss it" : null]];
  if (!stats) return facts(rows);
  const { requests = {}, latency_ms: latency = {}, queue, gpu } = stats;
  return facts([
    ...rows,
    ["device", stats.device],
    ["model", stats.model && `${stats.model}${stats.dimensions ? `, ${stats.dimensions} dimensions` : ""}`],
    ["up", `${duration(stats.uptime_s)}, version ${stats.version}, pid ${stats.pid}`],
    ["requests", `${requests.total ?? 0}, ${requests.errors ?? 0} failed`],
    ["now", `${requests.per_second ?? 0} /s, ${othersInFlight(stats)} in flight, ${stats.connections ?? 0} connected`],
    ["latency", percentiles(latency.total)],
    ["inference", percentiles(latency.infer)],
    ["queue", queue && `${queue.depth} of ${queue.limit}`],
    ["memories", stats.total_memories != null ? `${stats.total_memories}, ${stats.active_memories} active` : null],
    ["store", stats.store?.size_bytes != null ? `${bytes(stats.store.size_bytes)}, ${stats.store.path}` : null],
    ["GPU memory", gpu && `${gpu.allocated} GB in use, ${gpu.max_allocated} GB at most`],
  ]);
}

function percentiles(found) {
  return found && `p50 ${milliseconds(found.p50)}, p99 ${milliseconds(found.p99)}`;
}
