// What the time of one request was spent on: the stages that the server tells when it is asked, and the rest.

import { milliseconds } from "/console/dom.js";

// Goes beside the type of a request; a server that does not know it ignores it.
export const TIMED = { timing: true };

// {stage: ms, …, server: the rest of its work, transport: the rest of `ms`}; empty when the server tells nothing.
export function partsOf({ timing }, ms) {
  if (!timing) return {};
  const { total_ms: total, ...stages } = timing;
  const parts = Object.fromEntries(Object.entries(stages).map(([name, spent]) => [name.replace(/_ms$/, ""), spent]));
  const named = Object.values(parts).reduce((sum, spent) => sum + spent, 0);
  return { ...parts, server: Math.max(0, total - named), transport: Math.max(0, ms - total) };
}

// "12 ms (embed 9.1 ms, search 1.2 ms, …)"
export function timesText(reply, ms) {
  const parts = Object.entries(partsOf(reply, ms)).map(([name, spent]) => `${name} ${milliseconds(spent)}`);
  return parts.length ? `${milliseconds(ms)} (${parts.join(", ")})` : milliseconds(ms);
}
