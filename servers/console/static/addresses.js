// Where the servers are: from the fragment of the page's address, from the server that sent the page, else by default.
//
// A fragment never leaves the browser: `#token=…` brings the access token, `#inference=ws://localhost:6005/` an
// address, for example behind a tunnel with other ports. Both are taken out of the address bar.

import { ask } from "/console/health.js";

export const DEFAULT_PORTS = { memory: 5000, inference: 5005 };
const SCHEME = location.protocol === "https:" ? "wss" : "ws";
const OWN_URL = `${SCHEME}://${location.host}/`;
// A policy cannot name an IPv6 address, so the others are reached by name from such a page.
const OTHER_HOST = location.hostname.startsWith("[") ? "localhost" : location.hostname;

export function takeToken() {
  // A token may hold a plus sign, which would be read as a space.
  const given = new URLSearchParams(location.hash.slice(1).replaceAll("+", "%2B"));
  if (!location.hash.includes("=")) return null;
  for (const name of Object.keys(DEFAULT_PORTS)) {
    if (given.has(name)) setAddress(name, given.get(name));
  }
  history.replaceState(null, "", location.pathname + location.search);
  return given.get("token");
}

// An address given by hand; it holds for this browser tab. An empty one forgets it. False: it is not an address.
export function setAddress(name, address) {
  const key = `address of ${name}`;
  if (!address) sessionStorage.removeItem(key);
  else if (/^wss?:/.test(address) && URL.canParse(address)) sessionStorage.setItem(key, new URL(address).href);
  else return false;
  return true;
}

// Lets the browser keep the token as a cookie that no script can read. Resolves to whether the server took it.
export async function rememberToken(url, token) {
  try {
    return (await ask(url, "/console/session", token, { method: "POST" })).ok;
  } catch {
    return false; // The server is not there; its state says so.
  }
}

// {self, needsToken, servers: [{name, kind, url}]} as far as can be known now.
export async function discover(token) {
  const { self, needsToken } = await describeSelf(token);
  const found = new Map();
  const own = ownName(self);
  if (own) found.set(own, { name: own, kind: self.service, url: OWN_URL });
  for (const [name, address] of Object.entries(self?.peers ?? {})) {
    const url = peerUrl(address);
    const kind = name === own ? null : await kindOf(name, url, token);
    if (kind) found.set(name, { name, kind, url });
  }
  for (const [name, port] of Object.entries(DEFAULT_PORTS)) {
    if ([...found.values()].some((server) => server.kind === name)) continue;
    // Without a description the page's own server is taken for the one whose turn it is.
    const isOwn = !self && found.size === 0;
    found.set(name, { name, kind: name, url: isOwn ? OWN_URL : peerUrl(`ws://localhost:${port}`) });
  }
  for (const server of found.values()) {
    server.url = sessionStorage.getItem(`address of ${server.name}`) ?? server.url;
  }
  return { self, needsToken, servers: [...found.values()] };
}

async function describeSelf(token) {
  try {
    const response = await ask(OWN_URL, "/", token, { headers: { accept: "application/json" } });
    return { self: response.ok ? await response.json() : null, needsToken: response.status === 401 };
  } catch {
    return { self: null, needsToken: false };
  }
}

// config.yaml may call a service anything, and may hold services of other kinds, which are none of ours to show.
async function kindOf(name, url, token) {
  if (name in DEFAULT_PORTS) return name;
  try {
    const options = { headers: { accept: "application/json" }, signal: AbortSignal.timeout(2000) };
    const { service } = await (await ask(url, "/", token, options)).json();
    return service in DEFAULT_PORTS ? service : null;
  } catch {
    return null;
  }
}

// The peer with our port is ourselves, under the name that config.yaml gave us.
function ownName(self) {
  if (!self) return null;
  const mine = Object.entries(self.peers ?? {}).find(([, address]) => portOf(address) === location.port);
  return mine?.[0] ?? self.service;
}

// A server's word is right for the port; the name by which it is reached from here is the page's own.
export function peerUrl(address) {
  const url = new URL(`${SCHEME}://${OTHER_HOST}/`);
  url.port = portOf(address) ?? "";
  return url.href;
}

export function portOf(address) {
  return address && URL.canParse(address) ? new URL(address).port : null;
}
