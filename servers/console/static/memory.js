// The memory server's tab: store, search with explained scores, browse, and take everything along as a file.

import { byId, bytes, h, say } from "/console/dom.js";
import { memoryRow } from "/console/memory_row.js";
import { timesText, TIMED } from "/console/times.js";

const PAGE = 20;
const EXPORT_PAGE = 500;
const FILES = ["export", "backup"];

export function makeMemory(stack) {
  onSubmit("store-form", () => store(stack));
  onSubmit("search-form", () => search(stack));
  byId("browse").addEventListener("click", () => guarded("browse-note", () => browse(stack, null)));
  byId("more").addEventListener("click", () => guarded("browse-note", () => browse(stack, byId("more").dataset.cursor)));
  byId("download").addEventListener("click", () => guarded("browse-note", () => download(stack)));
  for (const command of FILES) {
    byId(command).addEventListener("click", () => guarded("browse-note", () => writeFile(stack, command)));
  }
  let lastState = null;
  stack.addEventListener("change", ({ detail }) => {
    if (detail !== stack.find("memory") || detail.state === lastState) return;
    lastState = detail.state;
    // Again after it was away: another version may know more.
    if (lastState === "ready") offerFiles(detail);
  });
}

async function offerFiles(memory) {
  const commands = (await memory.commands()) ?? [];
  for (const command of FILES) byId(command).hidden = !commands.includes(command);
}

function onSubmit(form, run) {
  byId(form).addEventListener("submit", (event) => {
    event.preventDefault();
    guarded(`${form.split("-")[0]}-note`, run);
  });
}

// Whatever goes wrong is told beside the form it came from.
async function guarded(note, run) {
  try {
    await run();
  } catch (error) {
    say(byId(note), error.message, true);
  }
}

function server(stack) {
  const found = stack.find("memory");
  if (!found) throw new Error("there is no memory server in this stack");
  return found;
}

function namespace() {
  return byId("namespace").value.trim() || "default";
}

async function store(stack) {
  const tags = byId("store-tags").value.split(",").map((tag) => tag.trim()).filter(Boolean);
  const type = byId("store-type").value.trim();
  const metadata = { ...(tags.length ? { tags } : {}), ...(type ? { type } : {}) };
  const data = { text: byId("store-text").value, metadata, namespace: namespace() };
  const { reply, ms } = await server(stack).request("store", data, TIMED);
  const twin = reply.duplicate_of ? `; nearly the same as ${reply.duplicate_of}` : "";
  const scores = `significance ${reply.significance.toFixed(3)}, surprise ${reply.surprise.toFixed(3)}`;
  say(byId("store-note"), `Stored and on disk in ${timesText(reply, ms)}: ${scores}${twin}.`);
  byId("store-text").value = "";
}

async function search(stack) {
  const query = byId("query").value.trim();
  const sort = byId("sort").value;
  const data = {
    count: byId("count").valueAsNumber,
    min_significance: byId("min-significance").valueAsNumber,
    namespace: namespace(),
    include: ["score", "explain"],
    ...(query ? { query } : {}),
    ...(sort ? { sort } : {}),
  };
  const { reply, ms } = await server(stack).request("retrieve", data, TIMED);
  fill(stack, "found", reply.memories);
  say(byId("search-note"), `${reply.count} of ${reply.total} matches in ${timesText(reply, ms)}.`);
  showHidden(reply.hidden_by_significance, data.min_significance);
}

function showHidden(hidden, least) {
  const place = byId("hidden-note");
  place.replaceChildren();
  if (!hidden) return;
  const button = h("button", { type: "button" }, "Show them");
  button.addEventListener("click", () => {
    byId("min-significance").value = "0";
    byId("search-form").requestSubmit();
  });
  place.append(`${hidden} more hidden, below the least significance of ${least}. `, button);
}

async function browse(stack, cursor) {
  const deleted = byId("deleted").checked;
  const data = { limit: PAGE, namespace: namespace(), deleted, ...(cursor ? { cursor } : {}) };
  const { reply } = await server(stack).request("list", data);
  fill(stack, "browsed", reply.memories, { isMore: Boolean(cursor), isDeleted: deleted });
  const more = byId("more");
  more.hidden = !reply.next_cursor;
  more.dataset.cursor = reply.next_cursor ?? "";
  const shown = byId("browsed").children.length;
  const what = deleted ? "deleted memories that can be restored" : "memories, newest stored first";
  say(byId("browse-note"), `${shown} ${what}${reply.next_cursor ? "; there are more" : ""}.`);
}

function fill(stack, id, memories, { isMore = false, isDeleted = false } = {}) {
  const list = byId(id);
  const rows = memories.map((memory) => memoryRow(memory, isDeleted, {
    remove: () => server(stack).request("delete", { id: memory.id }),
    restore: () => server(stack).request("restore", { id: memory.id }),
  }));
  if (isMore) list.append(...rows);
  else list.replaceChildren(...rows);
}

// A file in the server's data folder.
async function writeFile(stack, command) {
  const note = byId("browse-note");
  say(note, "Writing…");
  const { reply } = await server(stack).request(command, command === "export" ? { namespace: namespace() } : {});
  say(note, `${reply.count} memories written on the server: ${reply.path} (${bytes(reply.size_bytes)}).`);
}

// The namespace as JSON Lines, one memory with its vector on each line, page by page into a file.
async function download(stack) {
  const lines = [];
  let cursor = null;
  do {
    const data = { limit: EXPORT_PAGE, namespace: namespace(), include: ["embedding"], ...(cursor ? { cursor } : {}) };
    const { reply } = await server(stack).request("list", data);
    lines.push(...reply.memories.map((memory) => `${JSON.stringify(memory)}\n`));
    cursor = reply.next_cursor;
    say(byId("browse-note"), `${lines.length} memories read…`);
  } while (cursor);
  const url = URL.createObjectURL(new Blob(lines, { type: "application/x-ndjson" }));
  h("a", { href: url, download: `memories-${namespace()}.jsonl` }).click();
  URL.revokeObjectURL(url);
  say(byId("browse-note"), `${lines.length} memories written to memories-${namespace()}.jsonl.`);
}
