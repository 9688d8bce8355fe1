// The test page: runs every check against both servers and says of each whether it passed, how long it took, or why not.

import { discover, rememberToken, takeToken } from "/console/addresses.js";
import { isNeeded, stepsFor, Subject } from "/console/checks.js";
import { byId, copyButton, h, milliseconds } from "/console/dom.js";

const TITLE = document.title;
const NOT_RUN = { outcome: "skipped", detail: "not run: there is no connection" };
const MARKS = { passed: "✓", failed: "✗", skipped: "–" };
let token = takeToken();
let results = [];

byId("again").addEventListener("click", run);
byId("again").after(copyButton("Copy report", report));
byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = byId("token").value.trim();
  byId("token").value = "";
  run();
});
run();

async function run() {
  byId("again").disabled = true;
  results = [];
  say("Running…", "busy");
  const began = performance.now();
  const { servers, needsToken } = await discover(token);
  byId("token-form").hidden = !needsToken;
  if (token) await Promise.all(servers.map(({ url }) => rememberToken(url, token)));
  byId("subjects").replaceChildren();
  for (const server of servers) await examine(new Subject(server, token));
  conclude(performance.now() - began);
  byId("again").disabled = false;
}

async function examine(subject) {
  const rows = h("tbody", {});
  const heads = ["", "check", "time", "what was seen"];
  byId("subjects").append(h("section", { className: "card", "aria-label": subject.name },
    h("h2", {}, subject.name), h("p", { className: "meta" }, subject.url),
    h("table", { className: "checks" }, h("caption", { className: "unseen" }, `Checks of ${subject.name}`),
      h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))), rows)));
  let isCutOff = false;
  for (const [title, check] of stepsFor(subject.kind)) {
    const result = isCutOff ? NOT_RUN : await attempt(subject, check);
    isCutOff ||= isNeeded(title) && result.outcome === "failed";
    results.push({ server: subject.name, title, ...result });
    rows.append(row(title, result));
  }
  subject.close();
}

async function attempt(subject, check) {
  const began = performance.now();
  try {
    const detail = await check(subject);
    return { outcome: "passed", detail, ms: performance.now() - began };
  } catch (error) {
    return { outcome: "failed", detail: error.message, ms: performance.now() - began };
  }
}

function row(title, { outcome, detail, ms }) {
  const made = h("tr", { className: outcome },
    h("td", { className: "mark" }, h("span", { role: "img", "aria-label": outcome }, MARKS[outcome])),
    h("th", { scope: "row" }, title),
    h("td", { className: "number" }, ms == null ? "" : milliseconds(ms)),
    h("td", { className: "detail" }, detail));
  made.dataset.check = title;
  return made;
}

function conclude(ms) {
  const count = (outcome) => results.filter((result) => result.outcome === outcome).length;
  const passed = count("passed");
  const isGood = passed === results.length;
  const rest = isGood ? "" : `, ${count("failed")} failed, ${count("skipped")} not run`;
  const mark = isGood ? MARKS.passed : MARKS.failed;
  const line = `${mark} ${passed} of ${results.length} checks passed${rest} in ${milliseconds(ms)}`;
  say(line, isGood ? "ready" : "down");
  document.title = `${mark} ${passed}/${results.length} ${TITLE}`;
}

function say(text, state) {
  byId("summary").textContent = text;
  byId("summary").dataset.state = state;
}

function report() {
  const lines = results.map(({ server, title, outcome, detail, ms }) =>
    `${MARKS[outcome]} ${server}: ${title}${ms == null ? "" : ` (${milliseconds(ms)})`}: ${detail}`);
  return [byId("summary").textContent, navigator.userAgent, ...lines].join("\n");
}
