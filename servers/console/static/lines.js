// The last lines that both servers logged, merged by time, with the filter of the terminal: a regular expression that
// minds case only if it holds a capital. The filter is part of the address, so that it can be sent to somebody.

import { byId, h } from "/console/dom.js";
import { ask } from "/console/health.js";
import { clock, whileShown } from "/console/watching.js";

const LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"];
const MOST_SHOWN = 500;

export function makeLines(stack) {
  const logs = new Map(); // server → {pid, lines}
  const draw = () => show([...logs.values()].flatMap(({ lines }) => lines));
  takeFilter();
  for (const id of ["grep", "level"]) {
    byId(id).addEventListener("input", () => {
      keepFilter();
      draw();
    });
  }
  byId("lines-form").addEventListener("submit", (event) => event.preventDefault());
  stack.addEventListener("servers", () => logs.clear());
  return whileShown(byId("logs"), async () => {
    const reasons = await Promise.all(stack.servers.map((server) => read(server, stack.token, logs)));
    byId("lines-note").textContent = reasons.filter(Boolean).join("; ");
    draw();
  });
}

// Adds what is new; returns why that is not known, or null.
async function read(server, token, logs) {
  try {
    const known = logs.get(server) ?? { pid: null, lines: [] };
    const reply = await linesAfter(server, token, known.lines.at(-1)?.number ?? 0);
    const isSame = reply.pid === known.pid;
    // Another process: its numbers begin anew, and what the former one said is still worth reading.
    const { lines } = isSame || !known.lines.length ? reply : await linesAfter(server, token, 0);
    const kept = isSame ? known.lines : known.lines.map((line) => ({ ...line, number: 0 }));
    const told = lines.map((line) => ({ ...line, server: server.name }));
    logs.set(server, { pid: reply.pid, lines: [...kept, ...told].slice(-MOST_SHOWN) });
    return null;
  } catch (error) {
    return `${server.name}: ${server.reason || error.message}`;
  }
}

async function linesAfter(server, token, number) {
  const response = await ask(server.url, `/console/lines?after=${number}`, token, { signal: AbortSignal.timeout(3000) });
  const reply = await response.json();
  if (!response.ok) throw new Error(reply.error ?? `status ${response.status}`);
  return reply;
}

function show(all) {
  const pattern = readPattern();
  const least = LEVELS.indexOf(byId("level").value);
  const fits = ({ level, logger, text, server }) =>
    LEVELS.indexOf(level) >= least && (!pattern || pattern.test(`${server} ${logger}: ${text}`));
  const found = all.filter(fits).sort((one, other) => one.at - other.at).slice(-MOST_SHOWN);
  const place = byId("lines");
  // Who has scrolled up reads; the newest line comes to those at the end.
  const isAtEnd = place.scrollTop + place.clientHeight >= place.scrollHeight - 4;
  place.replaceChildren(...found.map(line));
  if (isAtEnd) place.scrollTop = place.scrollHeight;
  byId("lines-count").textContent = `${found.length} of ${all.length} lines`;
}

function line({ at, server, level, logger, text }) {
  return h("li", { className: `line ${level.toLowerCase()}` },
    h("time", { className: "unit", dateTime: new Date(at).toISOString() }, clock(at)), ` ${server} `,
    h("b", { className: "level" }, level), ` ${logger}: ${text}`);
}

function readPattern() {
  const field = byId("grep");
  const text = field.value;
  try {
    const pattern = text ? new RegExp(text, /\p{Lu}/u.test(text) ? "u" : "iu") : null;
    field.removeAttribute("aria-invalid");
    return pattern;
  } catch {
    field.setAttribute("aria-invalid", "true");
    // Half a pattern, as while typing one, is looked for as it stands.
    return { test: (line) => line.toLowerCase().includes(text.toLowerCase()) };
  }
}

function takeFilter() {
  const given = new URLSearchParams(location.search);
  byId("grep").value = given.get("grep") ?? "";
  if (LEVELS.includes(given.get("level"))) byId("level").value = given.get("level");
}

function keepFilter() {
  const wanted = new URLSearchParams(location.search);
  const fields = { grep: byId("grep").value, level: byId("level").value === "DEBUG" ? "" : byId("level").value };
  for (const [name, value] of Object.entries(fields)) {
    if (value) wanted.set(name, value);
    else wanted.delete(name);
  }
  const query = wanted.toString();
  history.replaceState(null, "", `${location.pathname}${query ? `?${query}` : ""}${location.hash}`);
}
