// Builds elements. Everything that is shown goes in as text nodes or properties, never as markup, so that a memory
// that holds HTML is read as characters.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

// Names with a dash, and those that no property reflects everywhere, are attributes; the rest are properties.
const ATTRIBUTES = new Set(["role", "for", "scope", "colspan"]);

export function h(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || ATTRIBUTES.has(name)) made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.flat(Infinity).filter((child) => child != null));
  return made;
}

export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.flat(Infinity));
  return made;
}

// Terms and values; those without a value are left out.
export function facts(rows) {
  const known = rows.filter(([, value]) => value != null && value !== "");
  return h("dl", {}, known.map(([term, value]) => [h("dt", {}, term), h("dd", {}, String(value))]));
}

export function say(place, text, isError = false) {
  place.textContent = text;
  place.classList.toggle("error", isError);
}

// A button that copies what `write` returns at that moment and says so on itself.
export function copyButton(label, write) {
  const button = h("button", { type: "button" }, label);
  button.addEventListener("click", async () => {
    button.textContent = (await copied(write())) ? "Copied" : "Press Ctrl+C";
    setTimeout(() => { button.textContent = label; }, 1500);
  });
  return button;
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Plain HTTP from another machine has no clipboard: the text is selected for the person to copy.
    const area = h("textarea", { value: text, readOnly: true, className: "to-copy", "aria-label": "text to copy" });
    area.addEventListener("blur", () => area.remove());
    document.body.append(area);
    area.select();
    return false;
  }
}

export function milliseconds(ms) {
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

// "40 s", "3 min", "2 h", "5 d": how long, in the largest unit that is not zero.
export function duration(seconds) {
  for (const [unit, length] of [["d", 86_400], ["h", 3600], ["min", 60]]) {
    if (seconds >= length) return `${Math.floor(seconds / length)} ${unit}`;
  }
  return `${Math.max(0, Math.round(seconds))} s`;
}

export function bytes(count) {
  const units = ["B", "KB", "MB", "GB"];
  const power = Math.min(3, Math.floor(Math.log2(Math.max(1, count)) / 10));
  return `${(count / 1024 ** power).toFixed(power ? 1 : 0)} ${units[power]}`;
}
