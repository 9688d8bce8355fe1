// One WebSocket to one server that matches every reply to its request and, if it is kept, comes back by itself.
//
// The protocol answers each request exactly once and in order, so replies are matched by position, which also
// works for a frame that is not JSON and can therefore carry no id.

import { closeReason, readHealth } from "/console/health.js";

const FIRST_RETRY_MS = 500;
const MOST_RETRY_MS = 10_000;
const SLOW_CONNECT_MS = 3000;
const REPLY_TIMEOUT_MS = 120_000;

// A subprotocol is the only place where a page can put a token; a URL would end up in logs. One that holds characters
// that a subprotocol must not have (RFC 6455 §4.1) comes in by the cookie alone.
function offer(token) {
  return token && /^[\w.~+-]+$/.test(token) ? [`bearer.${token}`] : [];
}

export class Connection {
  // `isKept`: once `keep` was called it opens again after every loss. Otherwise it opens when something is sent.
  constructor(url, { token = null, isKept = false, onChange = () => {}, onFrame = () => {} } = {}) {
    Object.assign(this, { url, token, isKept, onChange, onFrame });
    this.state = "idle";
    this.reason = "";
    this.health = null;
    this.retryMs = FIRST_RETRY_MS;
    this.waiting = [];
    this.isClosed = false;
  }

  keep() {
    // What went wrong is in `state` and `reason`, and the loss has already arranged the next try.
    this.connect().catch(() => {});
  }

  // Resolves once open; rejects with the reason when that fails.
  connect() {
    this.opening ??= new Promise((resolve, reject) => {
      this.set("connecting", this.reason);
      const socket = new WebSocket(this.url, offer(this.token));
      let health = null;
      const slow = setTimeout(async () => { health = await this.explainDelay(socket); }, SLOW_CONNECT_MS);
      this.socket = socket;
      socket.onopen = () => {
        clearTimeout(slow);
        this.retryMs = FIRST_RETRY_MS;
        this.set("open", "");
        resolve();
      };
      socket.onmessage = (event) => this.settle(event.data);
      socket.onclose = async (event) => {
        clearTimeout(slow);
        reject(new Error(await this.lost(event, health)));
      };
    });
    return this.opening;
  }

  // A kept connection waits on: a server that restarts on sockets which its supervisor holds takes it up in the end.
  // Whoever wants something now is told at once why there is nothing.
  async explainDelay(socket) {
    const health = await readHealth(this.url, this.token);
    if (socket.readyState !== WebSocket.CONNECTING || health.isReady) return null;
    this.set("connecting", health.reason, health);
    if (!this.isKept) socket.close();
    return health;
  }

  // Sends text as it is; resolves to {text, reply, ms}, rejects with the reason when no reply can come.
  async send(text, timeoutMs = REPLY_TIMEOUT_MS) {
    await this.connect();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.giveUp(timeoutMs), timeoutMs);
      this.waiting.push({ resolve, reject, timer, sentAt: performance.now() });
      this.socket.send(text);
      this.onFrame({ direction: "sent", url: this.url, text, at: new Date() });
    });
  }

  // Replies are matched by position: after one that did not come, the socket is of no more use.
  giveUp(timeoutMs) {
    this.refuse(`no reply within ${timeoutMs / 1000} s`);
    this.socket.close();
  }

  settle(text) {
    const request = this.waiting.shift();
    if (!request) return;
    clearTimeout(request.timer);
    const ms = performance.now() - request.sentAt;
    let reply;
    try {
      reply = JSON.parse(text);
    } catch {
      request.reject(new Error(`${this.url} does not speak JSON; is it another program?`));
      return;
    }
    this.onFrame({ direction: "received", url: this.url, text, at: new Date(), ms, reply });
    request.resolve({ text, reply, ms });
  }

  refuse(reason) {
    for (const request of this.waiting.splice(0)) {
      clearTimeout(request.timer);
      request.reject(new Error(reason));
    }
  }

  // Says why the socket closed and, if it is kept, arranges the next try.
  async lost(event, knownHealth) {
    this.opening = null;
    const meaning = closeReason(event);
    this.refuse(meaning || `the connection broke before the reply (close code ${event.code})`);
    if (this.isClosed) return "closed";
    this.set("lost", meaning || this.reason);
    const health = knownHealth ?? (await readHealth(this.url, this.token));
    const refused = "the server answers HTTP but closed the WebSocket: its limit of connections or another program";
    const reason = [meaning, health.isReady ? (meaning ? "" : refused) : health.reason].filter(Boolean).join("; ");
    if (this.isClosed || this.opening) return reason;
    this.set("lost", reason, health);
    if (this.isKept) setTimeout(() => this.isClosed || this.keep(), this.retryMs);
    this.retryMs = Math.min(this.retryMs * 2, MOST_RETRY_MS);
    return reason;
  }

  close() {
    this.isClosed = true;
    this.socket?.close();
  }

  set(state, reason, health = null) {
    Object.assign(this, { state, reason, health });
    this.onChange(this);
  }
}
