// Raw frames: what is typed is what is sent; and a log of every frame that this page exchanged, both ways.

import { byId, h, milliseconds, say } from "/console/dom.js";
import { templatesFor, templateText } from "/console/templates.js";
import { timesText } from "/console/times.js";
import { clock } from "/console/watching.js";

const MOST_FRAMES = 200;

export function makeFrames(stack) {
  stack.addEventListener("servers", () => offerServers(stack));
  stack.addEventListener("frame", ({ detail }) => log(detail));
  byId("target").addEventListener("change", () => offerTemplates(stack));
  byId("template").addEventListener("change", () => fillRequest());
  byId("raw-form").addEventListener("submit", (event) => {
    event.preventDefault();
    send(stack);
  });
  byId("clear-frames").addEventListener("click", () => byId("frames").replaceChildren());
}

function chosen(stack) {
  return stack.servers.find(({ name }) => name === byId("target").value);
}

function offerServers(stack) {
  byId("target").replaceChildren(...stack.servers.map(({ name }) => new Option(name, name)));
  return offerTemplates(stack);
}

async function offerTemplates(stack) {
  const server = chosen(stack);
  const templates = templatesFor(server.kind, await server.commands());
  if (server !== chosen(stack)) return;
  byId("template").replaceChildren(...templates.map(([type, data]) => new Option(type, templateText(type, data))));
  fillRequest();
}

function fillRequest() {
  byId("request").value = byId("template").value;
}

async function send(stack) {
  const server = chosen(stack);
  const note = byId("raw-note");
  say(note, "Waiting for the reply…");
  try {
    const { ms, reply } = await server.work.send(byId("request").value);
    say(note, `${reply.status}${reply.code ? ` (${reply.code})` : ""} in ${timesText(reply, ms)}`, reply.status !== "success");
  } catch (error) {
    say(note, `${server.name}: ${error.message}`, true);
  }
}

function log({ server, direction, text, at, ms, reply }) {
  const time = clock(at);
  const outcome = reply ? `${reply.status}${reply.code ? ` ${reply.code}` : ""}, ${milliseconds(ms)}, ` : "";
  const title = `${time} ${direction === "sent" ? "→" : "←"} ${server.name} ${outcome}${text.length} characters`;
  const state = direction === "sent" ? "sent" : reply.status === "success" ? "ok" : "failed";
  const frames = byId("frames");
  const body = h("pre", { tabIndex: 0, role: "region", "aria-label": `frame of ${time}` }, shortened(text));
  frames.prepend(h("li", { className: state }, h("p", { className: "meta" }, title), body));
  while (frames.children.length > MOST_FRAMES) frames.lastChild.remove();
}

// A vector of hundreds of numbers hides everything else on the page.
function shortened(text) {
  return text.replace(/\[(-?[\d.eE+-]+,){8}[^\][]*\]/g, (list) => {
    const numbers = list.slice(1, -1).split(",");
    return `[${numbers.slice(0, 4).join(", ")}, … ${numbers.length} numbers]`;
  });
}
