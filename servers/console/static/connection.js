// One WebSocket to one server: reconnects by itself and matches every reply to its request.
//
// The protocol answers each request exactly once and in order, so replies are matched by position, which also
// works for a frame that is not JSON and can therefore carry no id.

const FIRST_RETRY_MS = 500;
const MOST_RETRY_MS = 10_000;
const REPLY_TIMEOUT_MS = 15_000;

export class Connection {
  constructor(url, { token = null, onChange }) {
    this.url = url;
    this.token = token;
    this.onChange = onChange;
    this.state = "connecting";
    this.reason = "";
    this.retryMs = FIRST_RETRY_MS;
    this.waiting = [];
    this.closed = false;
    this.open();
  }

  open() {
    this.set("connecting", this.reason);
    // A subprotocol is the only place where a page can put a token; a URL would end up in logs.
    this.socket = new WebSocket(this.url, this.token ? [`bearer.${this.token}`] : []);
    this.socket.onopen = () => {
      this.retryMs = FIRST_RETRY_MS;
      this.set("open", "");
    };
    this.socket.onmessage = (event) => this.settle(event.data);
    this.socket.onclose = (event) => this.lost(event);
  }

  // Sends text as it is; resolves to {text, reply, ms}, rejects when the connection is lost first.
  send(text) {
    return new Promise((resolve, reject) => {
      if (this.state !== "open") {
        reject(new Error(`not connected to ${this.url}`));
        return;
      }
      const timer = setTimeout(() => this.socket.close(), REPLY_TIMEOUT_MS);
      this.waiting.push({ resolve, reject, timer, sentAt: performance.now() });
      this.socket.send(text);
    });
  }

  settle(text) {
    const request = this.waiting.shift();
    if (!request) return;
    clearTimeout(request.timer);
    request.resolve({ text, reply: JSON.parse(text), ms: performance.now() - request.sentAt });
  }

  async lost(event) {
    for (const request of this.waiting.splice(0)) {
      clearTimeout(request.timer);
      request.reject(new Error(`the connection closed (${event.code}) before the reply`));
    }
    if (this.closed) return;
    // A browser never says why a socket failed; plain HTTP can.
    this.set("lost", event.reason || (await whyUnreachable(this.url, this.token)));
    setTimeout(() => this.closed || this.open(), this.retryMs);
    this.retryMs = Math.min(this.retryMs * 2, MOST_RETRY_MS);
  }

  close() {
    this.closed = true;
    this.socket.close();
  }

  set(state, reason) {
    this.state = state;
    this.reason = reason;
    this.onChange(this);
  }
}

async function whyUnreachable(url, token) {
  try {
    const headers = token ? { authorization: `Bearer ${token}` } : {};
    const address = new URL("/readyz", url.replace(/^ws/, "http"));
    const response = await fetch(address, { headers, credentials: "include" });
    if (response.status === 401) return "needs the access token";
    const body = await response.json();
    return body.error ?? `${body.phase}${body.detail ? `: ${body.detail}` : ""}`;
  } catch {
    return "nothing answers at this address; is the server running?";
  }
}
