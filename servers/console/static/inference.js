// The try-out of the inference server: texts in, vectors, their likeness and where the time went out.

import { byId, copyButton, h, milliseconds, say } from "/console/dom.js";
import { forget, keep, kept, likeness } from "/console/kept.js";
import { embeddingsCurl, embeddingsPython } from "/console/snippets.js";
import { partsOf, TIMED } from "/console/times.js";
import { cosines, largestDifference, norm } from "/console/vectors.js";
import { clock } from "/console/watching.js";

const MOST_TEXTS = 32;
const SHOWN_VALUES = 4;

export function makeInference(stack) {
  const form = byId("embed-form");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = byId("embed");
    button.disabled = true;
    await embed(stack);
    button.disabled = false;
  });
}

function readTexts() {
  return byId("texts").value.split("\n").map((line) => line.trim()).filter(Boolean);
}

async function embed(stack) {
  const note = byId("embed-note");
  const server = stack.find("inference");
  const texts = readTexts();
  if (!texts.length || texts.length > MOST_TEXTS) {
    say(note, `Write 1 to ${MOST_TEXTS} texts, one on each line.`, true);
    return;
  }
  say(note, "Embedding…");
  try {
    const batch = await embedTogether(server, texts);
    // The one who asks for a text alone is told its own tokens, and whether it was cut.
    const alone = await Promise.all(texts.map((text) => server.request("embeddings", { text })));
    show(texts, batch, alone.map(({ reply }) => reply), server);
    say(note, "");
  } catch (error) {
    say(note, `${server.name}: ${error.message}`, true);
  }
}

// All texts in one request, whose reply tells how the time was spent.
async function embedTogether(server, texts) {
  const { reply, ms } = await server.request("embeddings", { text: texts }, TIMED);
  return {
    model: reply.model,
    tokens: reply.usage.tokens,
    vectors: reply.embeddings,
    parts: partsOf(reply, ms),
    total: ms,
  };
}

function show(texts, batch, alone, server) {
  const again = () => show(texts, batch, alone, server);
  const aside = kept();
  const result = { model: batch.model, texts, embeddings: batch.vectors };
  byId("embed-result").replaceChildren(
    h("div", { className: "row" },
      copyButton("Copy as Python", () => embeddingsPython(server.url, texts)),
      copyButton("Copy as curl", () => embeddingsCurl(server.url, texts, batch.model)),
      copyButton("Copy as JSON", () => JSON.stringify(result)),
      button("Keep for comparison", () => keep(texts, batch.vectors, origin(server, batch.model)), again),
      aside ? button("Forget the kept ones", forget, again) : null),
    ...(aside ? [h("p", { className: "meta" }, `Compared with the vectors kept at ${clock(aside.at)}: ${aside.about}.`)] : []),
    timeSplit(batch),
    vectorTable(texts, batch.vectors, alone, aside),
    ...(texts.length > 1 ? [matrix(cosines(batch.vectors))] : []),
  );
}

function button(label, act, then) {
  const made = h("button", { type: "button" }, label);
  made.addEventListener("click", () => {
    act();
    then();
  });
  return made;
}

// What made the vectors, as far as it may differ from another time.
function origin({ stats }, model) {
  return [model, stats?.backend, stats?.dtype, stats?.device].filter(Boolean).join(", ");
}

function timeSplit({ parts, total, tokens, vectors }) {
  const bar = h("div", { className: "split", "aria-hidden": "true" }, Object.entries(parts).map(([name, ms]) => {
    const piece = h("span", { className: `part-${name}` });
    piece.style.flexGrow = ms;
    return piece;
  }));
  const legend = h("ul", { className: "legend" }, Object.entries(parts).map(([name, ms]) =>
    h("li", { className: `part-${name}` }, `${name} ${milliseconds(ms)}`)));
  const count = vectors.length === 1 ? "1 text" : `${vectors.length} texts in one batch`;
  return h("figure", { className: "times" },
    h("figcaption", {}, `${milliseconds(total)} for ${count}, ${tokens} tokens`), bar, legend);
}

function vectorTable(texts, vectors, alone, aside) {
  const rows = texts.map((text, place) => {
    const vector = vectors[place];
    const { usage, truncated, embeddings } = alone[place];
    const values = vector.slice(0, SHOWN_VALUES).map((value) => value.toFixed(4)).join(" ");
    const cells = [vector.length, norm(vector).toFixed(4), usage.tokens, truncated ? "yes, cut" : "no",
      ...(aside ? [likeness(aside, text, vector)] : []), `${values} …`];
    return {
      row: h("tr", {}, h("th", { scope: "row" }, `${place + 1}. ${text}`), cells.map((cell) => h("td", {}, String(cell)))),
      difference: largestDifference(vector, embeddings),
    };
  });
  const heads = ["text", "dims", "norm", "tokens", "truncated", ...(aside ? ["cosine to kept"] : []), "first values"];
  const most = Math.max(...rows.map(({ difference }) => difference));
  return h("div", { className: "scroller", tabIndex: 0, role: "region", "aria-label": "Vectors" },
    h("table", {}, h("caption", {}, most ? `Vectors; alone and in the batch they differ by at most ${most.toExponential(1)}`
      : "Vectors; the same alone and in the batch"),
      h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))),
      h("tbody", {}, rows.map(({ row }) => row))));
}

function matrix(similarities) {
  const numbers = similarities.map((_, place) => String(place + 1));
  const body = similarities.map((row, place) => h("tr", {}, h("th", { scope: "row" }, numbers[place]),
    row.map((similarity) => {
      const cell = h("td", { className: "heat" }, similarity.toFixed(3));
      cell.style.setProperty("--share", Math.max(0, similarity).toFixed(3));
      return cell;
    })));
  return h("div", { className: "scroller", tabIndex: 0, role: "region", "aria-label": "Cosine similarity" },
    h("table", { className: "matrix" }, h("caption", {}, "Cosine similarity, by the numbers of the texts"),
      h("thead", {}, h("tr", {}, h("td", {}), numbers.map((number) => h("th", { scope: "col" }, number)))),
      h("tbody", {}, body)));
}
