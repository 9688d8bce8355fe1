// The servers of the stack as the page knows them: their addresses, states, statistics and a short history.
//
// Fires `change` when a server's state or statistics may look different, `frame` for each frame that is sent or
// received for the person in front of the page, and `servers` when there are other servers than before.

import { discover, peerUrl, portOf, rememberToken, setAddress } from "/console/addresses.js";
import { Connection } from "/console/connection.js";
import { ask, phaseText, readHealth } from "/console/health.js";

const POLL_MS = 2000;
const POLL_TIMEOUT_MS = 5000;
const MOST_SAMPLES = 450; // 15 minutes of them

// A server counts the very request that asks it for its statistics.
export function othersInFlight(stats) {
  return Math.max(0, (stats.requests?.in_flight ?? 0) - 1);
}

export class Stack extends EventTarget {
  constructor(token) {
    super();
    this.token = token;
    this.self = null;
    this.needsToken = false;
    this.servers = [];
    setInterval(() => this.poll(), POLL_MS);
    document.addEventListener("visibilitychange", () => this.poll());
  }

  async open() {
    this.close();
    const { self, needsToken, servers } = await discover(this.token);
    Object.assign(this, { self, needsToken });
    this.servers = servers.map(({ name, kind, url }) => new Server(this, name, kind, url));
    if (this.token) await Promise.all(this.servers.map(({ url }) => rememberToken(url, this.token)));
    this.dispatchEvent(new Event("servers"));
    for (const server of this.servers) server.connect(server.url);
  }

  close() {
    for (const server of this.servers) server.close();
  }

  async useToken(token) {
    this.token = token;
    await this.open();
  }

  // The first server of a kind, or undefined.
  find(kind) {
    return this.servers.find((server) => server.kind === kind);
  }

  poll() {
    if (document.visibilityState !== "visible") return;
    for (const server of this.servers) server.poll();
  }

  changed(server) {
    // Until every server has been tried, the word of the page's own stands.
    const asks = this.servers.some(({ watch }) => watch?.health?.needsToken);
    this.needsToken = asks || (this.needsToken && server.state !== "ready");
    this.dispatchEvent(new CustomEvent("change", { detail: server }));
  }

  framed(server, frame) {
    this.dispatchEvent(new CustomEvent("frame", { detail: { server, ...frame } }));
  }

  // A server knows where the others really listen, which may change when they restart.
  follow(from, peers) {
    for (const server of this.servers) {
      const port = portOf(peers[server.name]);
      if (server === from || !port || server.isPinned || port === portOf(server.url)) continue;
      server.connect(peerUrl(peers[server.name]));
      this.dispatchEvent(new Event("servers"));
    }
  }
}

export class Server {
  constructor(stack, name, kind, url) {
    Object.assign(this, { stack, name, kind, url });
    this.stats = null;
    this.health = null;
    this.history = [];
    this.isPolling = false;
    this.isPinned = sessionStorage.getItem(`address of ${name}`) !== null;
  }

  // One socket watches, the other works: replies leave in order, so a long request would hold up the statistics.
  connect(url) {
    this.close();
    this.url = url;
    const { token } = this.stack;
    this.watch = new Connection(url, { token, isKept: true, onChange: (watch) => this.watched(watch) });
    this.work = new Connection(url, { token, onFrame: (frame) => this.stack.framed(this, frame) });
    this.watch.keep();
  }

  move(address) {
    if (!setAddress(this.name, address)) return false;
    this.isPinned = Boolean(address);
    if (address) this.connect(new URL(address).href);
    else this.stack.open();
    return true;
  }

  close() {
    this.watch?.close();
    this.work?.close();
  }

  watched(watch) {
    if (watch.isClosed || watch !== this.watch) return;
    if (watch.state === "open") this.poll();
    else this.health = null;
    this.stack.changed(this);
  }

  async poll() {
    const { watch } = this;
    if (watch?.state !== "open" || this.isPolling) return;
    this.isPolling = true;
    try {
      const { reply } = await watch.send('{"type":"stats"}', POLL_TIMEOUT_MS);
      this.stats = reply.stats ?? this.stats;
      const isReady = reply.stats?.phase === "ready";
      this.health = isReady ? { isReady } : await readHealth(this.url, this.stack.token);
      if (reply.stats) this.learn(reply.stats);
    } catch (error) {
      this.health = { reason: error.message };
    } finally {
      this.isPolling = false;
    }
    if (watch === this.watch) this.stack.changed(this);
  }

  learn(stats) {
    this.history.push({ at: Date.now(), stats });
    if (this.history.length > MOST_SAMPLES) this.history.shift();
    if (stats.peers) this.stack.follow(this, stats.peers);
  }

  // "ready", "busy" (on its way) or "down".
  get state() {
    if (this.watch?.state !== "open") return this.watch?.state === "connecting" && !this.reason ? "busy" : "down";
    return this.health?.isReady ? "ready" : "busy";
  }

  // One line: ready, or what is going on and why.
  get reason() {
    const { watch, health } = this;
    if (watch?.state !== "open") return watch?.reason ?? "";
    if (!health) return "waiting for its statistics";
    return health.isReady ? "" : (health.reason ?? phaseText(health.phase, health.progress));
  }

  // The names of the commands it knows, or null while it cannot be asked.
  async commands() {
    try {
      const response = await ask(this.url, "/", this.stack.token, { headers: { accept: "application/json" } });
      return response.ok ? (await response.json()).commands : null;
    } catch {
      return null;
    }
  }

  // The name by which requests over HTTP call its model, or null while it cannot be asked.
  async servedModel() {
    try {
      const response = await ask(this.url, "/v1/models", this.stack.token);
      return response.ok ? (await response.json()).data[0].id : null;
    } catch {
      return null;
    }
  }

  // Sends a request for the person at the page; `more` goes beside its type.
  // Resolves to {reply, ms, text}; rejects with the reason.
  async request(type, data = {}, more = {}) {
    const answer = await this.work.send(JSON.stringify({ type, ...more, data }));
    if (answer.reply.status === "success") return answer;
    const { code, error } = answer.reply;
    throw Object.assign(new Error(code ? `${error} (${code})` : error), { answer });
  }
}
