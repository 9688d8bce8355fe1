// The console page: the state of both servers, a raw-request box, and the checks of the seed's test page.
//
// Everything that comes from a server is put on the page as a text node, never as markup.

import { Connection } from "/console/connection.js";

const POLL_MS = 2000;
const MOST_FRAMES = 50;
const DEFAULT_PORTS = { memory: 5000, inference: 5005 };
const TEMPLATES = {
  memory: {
    stats: { type: "stats" },
    store: { type: "store", data: { text: "The kettle is blue", metadata: { tags: ["demo"] } } },
    retrieve: { type: "retrieve", data: { query: "kettle", count: 5, min_significance: 0 } },
  },
  inference: {
    stats: { type: "stats" },
    embeddings: { type: "embeddings", data: { text: "The kettle is blue" } },
    process: { type: "process", data: { text: "tea", context: ["The kettle is blue", "Trains are late"] } },
  },
};
const CHECKS = {
  memory: [["stats", '{"type":"stats"}', "success"]],
  inference: [
    ["stats", '{"type":"stats"}', "success"],
    ["embeddings", '{"type":"embeddings","data":{"text":"check"}}', "success"],
    ["process", '{"type":"process","data":{"text":"check","context":["a","b"]}}', "success"],
  ],
};
const BAD_CHECKS = [
  ["bad JSON is answered", "{not json", "invalid_json"],
  ["unknown command is answered", '{"type":"no-such-command"}', "unknown_command"],
];

const byId = (id) => document.getElementById(id);
const servers = new Map();
let token = takeTokenFromFragment();

start();

async function start() {
  if (token) await exchangeToken(location.origin);
  const own = await describeSelf();
  const name = own?.service ?? "memory";
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  addServer(name, `${scheme}://${location.host}/`);
  for (const [other, port] of Object.entries(DEFAULT_PORTS)) {
    const found = portOf(own?.peers?.[other]) ?? port;
    if (other !== name) addServer(other, `${scheme}://${location.hostname}:${found}/`);
  }
  fillTemplates();
  setInterval(pollAll, POLL_MS);
}

// The token may come in the URL's fragment, which a browser never sends; it is taken out of the address bar.
function takeTokenFromFragment() {
  const found = new URLSearchParams(location.hash.slice(1)).get("token");
  if (found) history.replaceState(null, "", location.pathname);
  return found;
}

async function exchangeToken(origin) {
  try {
    const headers = { authorization: `Bearer ${token}` };
    await fetch(`${origin}/console/session`, { method: "POST", headers, credentials: "include" });
  } catch (error) {
    note(`the token could not be kept for the next visit: ${error.message}`);
  }
}

async function describeSelf() {
  try {
    const headers = { accept: "application/json", ...(token ? { authorization: `Bearer ${token}` } : {}) };
    const response = await fetch("/", { headers });
    byId("token-form").hidden = response.status !== 401;
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}

function addServer(name, url) {
  const card = makeCard(name);
  const server = { name, url, card, stats: null, error: null };
  servers.set(name, server);
  byId("target").append(new Option(name, name));
  connect(server, url);
}

function connect(server, url) {
  server.connection?.close();
  server.url = url;
  server.connection = new Connection(url, {
    token,
    onChange: (connection) => {
      if (connection.state === "open") poll(server);
      draw(server);
    },
  });
  draw(server);
}

function pollAll() {
  if (document.visibilityState === "visible") servers.forEach(poll);
}

async function poll(server) {
  if (server.connection?.state !== "open") return;
  try {
    const { reply } = await server.connection.send('{"type":"stats"}');
    server.stats = reply.stats ?? null;
    server.error = reply.status === "error" ? reply : null;
    if (reply.stats?.peers) followPeers(server, reply.stats.peers);
  } catch (error) {
    server.error = { error: error.message };
  }
  draw(server);
}

// A server knows where the others really listen. Behind a tunnel its word is only right for the port.
function followPeers(from, peers) {
  for (const [name, address] of Object.entries(peers)) {
    const peer = servers.get(name);
    const port = portOf(address);
    if (!peer || peer === from || !port) continue;
    const wanted = new URL(peer.url);
    wanted.port = port;
    if (wanted.href !== new URL(peer.url).href) connect(peer, wanted.href);
  }
}

function portOf(address) {
  return address && URL.canParse(address) ? new URL(address).port : null;
}

function makeCard(name) {
  const card = element("article", { className: "card" });
  card.append(element("h2", { textContent: name }), element("p", { className: "state" }), element("dl"));
  byId("cards").append(card);
  return card;
}

function draw(server) {
  const { connection, stats, error, card } = server;
  if (!connection) return;
  const isOpen = connection.state === "open";
  const isReady = isOpen && stats && !error;
  const reason = error?.phase ? percent(error) : (error?.error ?? "");
  const text = isReady ? "● ready" : isOpen ? `◐ ${reason || "waiting for stats"}` : `○ ${connection.state}`;
  card.dataset.state = isReady ? "ready" : isOpen ? "busy" : "down";
  card.querySelector(".state").textContent = isOpen ? text : `${text} ${connection.reason}`;
  card.querySelector("dl").replaceChildren(...facts(server).flatMap(([term, value]) => [
    element("dt", { textContent: term }),
    element("dd", { textContent: value ?? "–" }),
  ]));
  summarise();
}

function percent(error) {
  return error.progress == null ? error.phase : `${error.phase} ${Math.round(error.progress * 100)} %`;
}

function facts({ url, stats }) {
  const latency = stats?.latency_ms?.total;
  const rows = [["address", url]];
  if (!stats) return rows;
  rows.push(
    ["device", stats.device],
    ["model", stats.model],
    ["up", `${Math.round(stats.uptime_s)} s`],
    ["requests", `${stats.requests?.total ?? 0}, ${stats.requests?.errors ?? 0} failed`],
    ["now", `${stats.requests?.per_second ?? 0} /s, ${stats.requests?.in_flight ?? 0} in flight`],
    ["latency", latency ? `p50 ${latency.p50} ms, p99 ${latency.p99} ms` : null],
    ["queue", stats.queue ? `${stats.queue.depth} of ${stats.queue.limit}` : null],
  );
  if (stats.total_memories != null) rows.push(["memories", String(stats.total_memories)]);
  return rows.filter(([, value]) => value != null);
}

function summarise() {
  const cards = [...servers.values()].map(({ card }) => card.dataset.state);
  const ready = cards.filter((state) => state === "ready").length;
  byId("summary").textContent = `${ready} of ${cards.length} servers ready`;
}

function fillTemplates() {
  const choices = TEMPLATES[byId("target").value] ?? {};
  byId("template").replaceChildren(...Object.keys(choices).map((name) => new Option(name, name)));
  fillRequest();
}

function fillRequest() {
  const template = TEMPLATES[byId("target").value]?.[byId("template").value];
  if (template) byId("request").value = JSON.stringify(template, null, 1);
}

async function sendRaw(event) {
  event.preventDefault();
  const server = servers.get(byId("target").value);
  if (server) await exchange(server, byId("request").value);
}

// Sends one frame, shows it and its reply, and returns the reply, or null when there was none.
async function exchange(server, text) {
  try {
    const answer = await server.connection.send(text);
    show(server, text, answer.text, answer.ms, answer.reply.status);
    note("");
    return answer.reply;
  } catch (error) {
    note(`${server.name}: ${error.message}`);
    return null;
  }
}

function show(server, sent, received, ms, status) {
  const item = element("li", { className: status === "success" ? "ok" : "failed" });
  item.append(
    element("p", { textContent: `${server.name} · ${status} · ${ms.toFixed(1)} ms` }),
    element("pre", { textContent: `→ ${sent}` }),
    element("pre", { textContent: `← ${shortened(received)}` }),
  );
  const frames = byId("frames");
  frames.prepend(item);
  while (frames.children.length > MOST_FRAMES) frames.lastChild.remove();
}

// A vector of hundreds of numbers hides everything else on the page.
function shortened(text) {
  return text.replace(/\[(-?[\d.eE+-]+,){8}[^\]]*\]/g, (list) => {
    const numbers = list.slice(1, -1).split(",");
    return `[${numbers.slice(0, 4).join(", ")}, … ${numbers.length} numbers]`;
  });
}

async function runChecks() {
  const lines = [];
  for (const server of servers.values()) {
    for (const [title, frame, expected] of [...(CHECKS[server.name] ?? []), ...BAD_CHECKS]) {
      const reply = await exchange(server, frame);
      const passed = reply && (expected === "success" ? reply.status : reply.code) === expected;
      const why = passed ? "" : ` (${reply?.error ?? server.connection.reason ?? "no reply"})`;
      lines.push(`${passed ? "✓" : "✗"} ${server.name}: ${title}${why}`);
    }
  }
  note(lines.join("\n"));
}

function note(text) {
  byId("raw-note").textContent = text;
}

function element(tag, properties = {}) {
  return Object.assign(document.createElement(tag), properties);
}

byId("raw-form").addEventListener("submit", sendRaw);
byId("checks").addEventListener("click", runChecks);
byId("target").addEventListener("change", fillTemplates);
byId("template").addEventListener("change", fillRequest);
byId("token-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  token = byId("token").value.trim();
  byId("token").value = "";
  await exchangeToken(location.origin);
  await describeSelf();
  servers.forEach((server) => connect(server, server.url));
});
