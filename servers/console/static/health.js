// Why a server cannot be used. A browser never says why a socket failed; plain HTTP to the same address can.

const TIMEOUT_MS = 3000;

const CLOSE_CODES = {
  1001: "the server is shutting down",
  1008: "the server refused this connection",
  1009: "the message was larger than the server takes",
  1011: "the server failed",
  1012: "the server is restarting",
  1013: "the server asks to come back later",
};

export function httpAddress(url, path) {
  return new URL(path, url.replace(/^ws/, "http")).href;
}

// A request to one server, with the token if there is one; the console's cookie goes along by itself.
export function ask(url, path, token, options = {}) {
  const headers = { ...options.headers, ...(token ? { authorization: `Bearer ${token}` } : {}) };
  return fetch(httpAddress(url, path), { credentials: "include", cache: "no-store", ...options, headers });
}

// {isReady, needsToken, phase, progress, reason}: what /readyz says, or why it says nothing. Never rejects.
export async function readHealth(url, token) {
  const { host } = new URL(url);
  try {
    const response = await ask(url, "/readyz", token, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (response.status === 401) return { needsToken: true, reason: `${host} needs the access token` };
    const body = await response.json();
    const { ready: isReady = false, phase, progress, detail, error } = body;
    return { isReady, phase, progress, reason: error ?? [phaseText(phase, progress), detail].filter(Boolean).join(": ") };
  } catch (error) {
    if (error.name === "TimeoutError") {
      return { reason: `${host} takes connections but does not answer: it is starting, stopping or stuck` };
    }
    return { reason: unreachable(host) };
  }
}

function unreachable(host) {
  const isLocal = /^(localhost|127\.0\.0\.1|\[::1\])(:|$)/.test(location.host);
  const origin = isLocal ? "" : `, or it does not list ${location.origin} in allowed_origins`;
  return `nothing answers at ${host}; start it with "lucid-launch up"${origin}`;
}

export function phaseText(phase, progress) {
  return progress == null ? phase : `${phase} ${Math.round(progress * 100)} %`;
}

// What the close of a socket means, or "" where the code only says that it broke.
export function closeReason({ code, reason }) {
  const meaning = CLOSE_CODES[code];
  return meaning ? `${meaning} (close code ${code})` : reason && `${reason} (close code ${code})`;
}
