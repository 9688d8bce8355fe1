// A request for every command of the protocol, to start from; those of a server are offered if it knows the command.

import { TIMED } from "/console/times.js";

export const TEMPLATES = {
  memory: {
    stats: {},
    store: { text: "The kettle is blue", metadata: { type: "note", tags: ["kitchen"] } },
    retrieve: { query: "kettle", count: 5, min_significance: 0, include: ["score", "explain"] },
    get: { id: "the id of a memory" },
    update: { id: "the id of a memory", metadata: { tags: ["kitchen", "seen"] } },
    list: { limit: 20 },
    delete: { id: "the id of a memory" },
    restore: { id: "the id of a memory" },
    forget: { below_significance: 0.1, dry_run: true },
    purge: { dry_run: true },
    duplicates: {},
    export: {},
    import: { path: "memories.jsonl" },
    backup: {},
    cancel: { id: 1 },
  },
  inference: {
    stats: {},
    embeddings: { text: ["The kettle is blue", "Trains are late"], config: { encoding: "float" } },
    process: { text: "tea", context: ["The kettle is blue", "Trains are late"] },
    cancel: { id: 1 },
  },
};

// `commands`: those that the server knows, or null for all.
export function templatesFor(kind, commands) {
  const known = Object.entries(TEMPLATES[kind] ?? {});
  return known.filter(([name]) => !commands || name === "cancel" || commands.includes(name));
}

export function templateText(type, data) {
  // The id to cancel stands beside the type, as that of a request does, and so does the wish for times.
  const rest = type === "cancel" ? data : { ...(Object.keys(data).length ? { data } : {}), ...TIMED };
  return JSON.stringify({ type, ...rest }, null, 2);
}
