// The console page: puts the parts together and shows the token form while a server asks for it.

import { makeActivity } from "/console/activity.js";
import { takeToken } from "/console/addresses.js";
import { makeConnect } from "/console/connect.js";
import { byId } from "/console/dom.js";
import { makeFrames } from "/console/frames.js";
import { makeInference } from "/console/inference.js";
import { makeLines } from "/console/lines.js";
import { makeMemory } from "/console/memory.js";
import { makeMetrics } from "/console/metrics.js";
import { makeOverview } from "/console/overview.js";
import { Stack } from "/console/stack.js";
import { makeTabs } from "/console/tabs.js";

const TITLE = document.title;
const stack = new Stack(takeToken());

makeOverview(byId("cards"), stack);
makeInference(stack);
makeMemory(stack);
makeFrames(stack);
const shown = {
  activity: makeActivity(stack),
  connect: makeConnect(stack),
  logs: makeLines(stack),
  metrics: makeMetrics(stack),
};
makeTabs(byId("tabs"), (name) => shown[name]?.());

stack.addEventListener("change", summarise);
stack.addEventListener("servers", summarise);
byId("token-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const token = byId("token").value.trim();
  byId("token").value = "";
  if (token) await stack.useToken(token);
});
stack.open();

function summarise() {
  byId("token-form").hidden = !stack.needsToken;
  const ready = stack.servers.filter(({ state }) => state === "ready").length;
  const all = stack.servers.length;
  const line = `${ready} of ${all} servers ready`;
  const summary = byId("summary");
  if (summary.textContent !== line) summary.textContent = line;
  summary.dataset.state = ready === all ? "ready" : "busy";
  document.title = ready === all ? TITLE : `(${ready}/${all}) ${TITLE}`;
}
