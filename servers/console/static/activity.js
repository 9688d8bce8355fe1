// What the servers answered lately, what they work on now, and what failed; of both, newest first.

import { byId, duration, h, milliseconds } from "/console/dom.js";
import { ask } from "/console/health.js";
import { clock, whileShown } from "/console/watching.js";

export function makeActivity(stack) {
  const found = new Map();
  const draw = () => show([...found.values()], byId("failed-only").checked);
  byId("failed-only").addEventListener("change", draw);
  stack.addEventListener("servers", () => found.clear());
  return whileShown(byId("activity"), async () => {
    const told = await Promise.all(stack.servers.map((server) => read(server, stack.token)));
    stack.servers.forEach((server, place) => found.set(server, { server, ...told[place] }));
    draw();
  });
}

// {recent, in_flight}, or {reason} why they are not known.
async function read(server, token) {
  try {
    const response = await ask(server.url, "/console/activity", token, { signal: AbortSignal.timeout(3000) });
    if (!response.ok) return { reason: (await response.json()).error ?? `status ${response.status}` };
    return await response.json();
  } catch (error) {
    return { reason: server.reason || error.message };
  }
}

function show(told, isFailedOnly) {
  const unknown = told.filter(({ reason }) => reason).map(({ server, reason }) => `${server.name}: ${reason}`);
  byId("activity-note").textContent = unknown.join("; ");
  const waiting = told.flatMap(({ server, in_flight: now = [] }) => now.map((each) => ({ server, ...each })));
  waiting.sort((one, other) => other.age_ms - one.age_ms);
  byId("in-flight").replaceChildren(...waiting.map(waitingRow));
  byId("nothing-in-flight").hidden = waiting.length > 0;
  const all = told.flatMap(({ server, recent = [] }) => recent.map((each) => ({ server, ...each })));
  const answered = all.filter(({ code }) => !isFailedOnly || code !== "ok").sort((one, other) => other.at - one.at);
  byId("answered").replaceChildren(...answered.map(answeredRow));
  const failed = all.filter(({ code }) => code !== "ok").length;
  byId("answered-count").textContent = `the last ${all.length}, ${failed} of them failed`;
}

function waitingRow({ server, op, age_ms: age, size_bytes: size }) {
  const waited = age < 10_000 ? milliseconds(age) : duration(age / 1000);
  return h("tr", {}, h("th", { scope: "row" }, op), cells(server.name, `for ${waited}`, `${size} bytes`));
}

function answeredRow({ server, at, op, code, ms }) {
  return h("tr", { className: code === "ok" ? "" : "failed" }, h("td", {}, clock(at)), h("th", { scope: "row" }, op),
    h("td", { className: "detail" }, code === "ok" ? "✓ ok" : `✗ ${code}`), cells(milliseconds(ms), server.name));
}

function cells(...texts) {
  return texts.map((text) => h("td", {}, text));
}
