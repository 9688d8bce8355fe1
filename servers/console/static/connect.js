// How to reach the servers from elsewhere: their addresses, code to start from, and another address for this page.

import { byId, copyButton, facts, h, say } from "/console/dom.js";
import { httpAddress } from "/console/health.js";
import { curl, embeddingsCurl, openaiPython, websocketBrowser, websocketPython } from "/console/snippets.js";

const EXAMPLES = {
  memory: { type: "retrieve", data: { query: "kettle", count: 5, min_significance: 0 } },
  inference: { type: "embeddings", data: { text: "The kettle is blue" } },
};

export function makeConnect(stack) {
  const places = new Map(); // server → where its code stands
  stack.addEventListener("servers", () => {
    places.clear();
    for (const server of stack.servers) places.set(server, h("div", {}, snippets(server.kind, server.url)));
    byId("addresses").replaceChildren(...stack.servers.map((server) => section(stack, server, places.get(server))));
  });
  const nameModels = () => {
    if (byId("connect").hidden) return;
    for (const [server, place] of places) {
      // Before it is ready nobody can say what its model is called.
      if (server.kind !== "inference" || server.state !== "ready" || place.dataset.model) continue;
      place.dataset.model = server.stats.model;
      nameModel(server, place);
    }
  };
  stack.addEventListener("change", nameModels);
  return nameModels;
}

async function nameModel(server, place) {
  const model = await server.servedModel();
  if (model) place.replaceChildren(...snippets(server.kind, server.url, model));
  else delete place.dataset.model;
}

function section(stack, server, code) {
  const { name, kind, url } = server;
  const http = (path) => httpAddress(url, path);
  const doors = [["WebSocket", url], ["alive", http("/healthz")], ["ready", http("/readyz")], ["metrics", http("/metrics")]];
  if (kind === "inference") doors.push(["OpenAI base URL", http("/v1")]);
  return h("section", { className: "card", "aria-label": `Connect to ${name}` },
    h("h2", {}, name), facts(doors), addressForm(stack, server), code);
}

function snippets(kind, url, model = "all-MiniLM-L6-v2") {
  const request = EXAMPLES[kind];
  const found = [
    ["Python", websocketPython(url, request)],
    ["Browser", websocketBrowser(url, request)],
    ...(kind === "inference" ? [
      ["curl", embeddingsCurl(url, [request.data.text], model)],
      ["OpenAI client", openaiPython(url, model)],
    ] : [["curl", curl(url, "/readyz")]]),
  ];
  return found.map(([title, code]) => h("div", { className: "snippet" },
    h("div", { className: "row" }, h("h3", {}, title), copyButton("Copy", () => code)),
    h("pre", { tabIndex: 0, role: "region", "aria-label": `${title} code` }, code)));
}

function addressForm(stack, server) {
  const id = `address-${server.name}`;
  const input = h("input", { id, value: server.url, spellcheck: false, autocapitalize: "off" });
  const note = h("span", { role: "status" });
  const form = h("form", {}, h("label", { for: id }, "Address that this page uses, for a tunnel with other ports"),
    h("div", { className: "row" }, input, h("button", {}, "Use"), note));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const isTaken = server.move(input.value.trim());
    say(note, isTaken ? "Connecting to it." : "Write an address such as ws://localhost:6005/.", !isTaken);
  });
  return form;
}
