// Vectors that are kept aside to compare later ones with: after a restart on another device, engine or model.

import { cosine } from "/console/vectors.js";

const KEY = "kept vectors";

// Keeps the vectors of these texts for this browser tab, in place of those before; `about` says what made them.
export function keep(texts, vectors, about) {
  const byText = Object.fromEntries(texts.map((text, place) => [text, vectors[place]]));
  sessionStorage.setItem(KEY, JSON.stringify({ about, at: Date.now(), vectors: byText }));
}

// {about, at, vectors: {text: vector}}, or null.
export function kept() {
  return JSON.parse(sessionStorage.getItem(KEY));
}

export function forget() {
  sessionStorage.removeItem(KEY);
}

// The cosine of a vector with the kept one of the same text, in words where there is none.
export function likeness(aside, text, vector) {
  const other = Object.hasOwn(aside.vectors, text) ? aside.vectors[text] : null;
  if (!other) return "not kept";
  return other.length === vector.length ? cosine(other, vector).toFixed(6) : `${other.length} dims`;
}
