// One memory in a list: its text, what it is worth and why, and a way to delete it that can be taken back.

import { duration, h } from "/console/dom.js";

// `actions`: {remove, restore}, each resolves when the server has done it and rejects with the reason.
export function memoryRow(memory, isDeleted, actions) {
  const item = h("li", { className: "memory" });
  const show = (gone, hasFocus) => {
    const content = gone ? deleted(memory) : present(memory);
    const button = h("button", { type: "button" }, gone ? (isDeleted ? "Restore" : "Undo") : "Delete");
    button.setAttribute("aria-label", `${button.textContent}: ${memory.text.slice(0, 60)}`);
    const note = h("span", { role: "status" });
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        await (gone ? actions.restore() : actions.remove());
        show(!gone, true);
      } catch (error) {
        button.disabled = false;
        note.textContent = error.message;
      }
    });
    item.replaceChildren(h("div", {}, content, note), button);
    item.classList.toggle("gone", gone);
    // The button that had the focus is gone; its opposite takes over.
    if (hasFocus) button.focus();
  };
  show(isDeleted, false);
  return item;
}

function deleted(memory) {
  return [h("p", { className: "text" }, memory.text), h("p", { className: "meta", role: "status" }, "Deleted.")];
}

function present(memory) {
  const { text, explain, score } = memory;
  const rows = [h("p", { className: "text" }, text), meta(memory)];
  if (explain && score != null) rows.push(explanation(explain, score));
  return rows;
}

function meta(memory) {
  const { significance, surprise, similarity, timestamp, created_at: createdAt, type, tags, id } = memory;
  const age = h("time", { dateTime: createdAt, title: createdAt }, `${duration((Date.now() - timestamp) / 1000)} old`);
  const numbers = [["significance", significance], ["surprise", surprise], ["similarity", similarity]];
  return h("p", { className: "meta" },
    numbers.filter(([, value]) => value != null).map(([name, value]) => h("span", {}, `${name} ${value.toFixed(3)}`)),
    age,
    type ? h("span", { className: "tag" }, type) : null,
    tags.map((tag) => h("span", { className: "tag" }, `#${tag}`)),
    h("code", {}, id));
}

// The score as the sum it is: weight × value of each part that counted.
function explanation(explain, score) {
  const parts = Object.entries(explain.weights).filter(([name]) => explain[name] != null);
  const bar = h("span", { className: "split", "aria-hidden": "true" }, parts.map(([name, weight]) => {
    const piece = h("span", { className: `part-${name}` });
    piece.style.flexGrow = Math.max(0, weight * explain[name]);
    return piece;
  }));
  const sum = parts.map(([name, weight]) => `${weight} × ${name} ${explain[name].toFixed(3)}`).join(" + ");
  return h("div", { className: "explain" }, bar, h("p", { className: "meta" }, `score ${score.toFixed(3)} = ${sum}`));
}
