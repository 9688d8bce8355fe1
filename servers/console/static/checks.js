// What the test page checks of each server: the steps in order, each of which says what it saw or throws why not.

import { Connection } from "/console/connection.js";
import { readHealth } from "/console/health.js";
import { norm } from "/console/vectors.js";

const NAMESPACE = "lucid-check";
const LIFETIME_MS = 600_000;
const REPLY_TIMEOUT_MS = 30_000;

// One server under test; `memory` is what the store step left for the following ones.
export class Subject {
  constructor({ name, kind, url }, token) {
    Object.assign(this, { name, kind, url, token });
    this.memory = null;
  }

  async connect() {
    this.connection?.close();
    this.connection = new Connection(this.url, { token: this.token });
    await this.connection.connect();
  }

  close() {
    this.connection?.close();
  }

  // The reply to a frame; its failure is ours unless that code was expected.
  async exchange(frame, expected = "success") {
    const { reply } = await this.connection.send(frame, REPLY_TIMEOUT_MS);
    const got = reply.status === "success" ? "success" : reply.code;
    require(got === expected, reply.error ? `${reply.error} (${reply.code})` : `expected ${expected}, got ${got}`);
    return reply;
  }

  request(type, data = {}) {
    return this.exchange(JSON.stringify({ type, data }));
  }
}

function require(condition, otherwise) {
  if (!condition) throw new Error(otherwise);
}

async function ready({ url, token }) {
  const health = await readHealth(url, token);
  require(health.isReady, health.reason);
  return "answers over HTTP and says it is ready";
}

async function connect(subject) {
  await subject.connect();
  return subject.url;
}

async function stats(subject) {
  const { stats: found } = await subject.request("stats");
  require(found?.service === subject.kind, `${subject.url} is a ${found?.service} server, not ${subject.kind}`);
  return `version ${found.version}, device ${found.device}, ${found.requests.total} requests so far`;
}

async function store(subject) {
  const text = `A check of the test page at ${new Date().toISOString()}`;
  const data = { text, namespace: NAMESPACE, expires_at: Date.now() + LIFETIME_MS };
  const reply = await subject.request("store", data);
  subject.memory = { id: reply.memory_id ?? reply.id, text };
  return `significance ${reply.significance.toFixed(3)}, surprise ${reply.surprise.toFixed(3)}`;
}

async function retrieve(subject) {
  require(subject.memory, "nothing was stored that could be found");
  const data = { query: subject.memory.text, count: 5, min_significance: 0, namespace: NAMESPACE };
  const { memories, total } = await subject.request("retrieve", data);
  const found = memories.find(({ id }) => id === subject.memory.id);
  require(found, `what was just stored is not among the ${memories.length} answers`);
  return `found among ${total}, similarity ${found.similarity.toFixed(3)}`;
}

async function remove(subject) {
  require(subject.memory, "nothing was stored that could be deleted");
  const reply = await subject.request("delete", { id: subject.memory.id });
  require(reply.deleted === 1, `${reply.deleted} memories were deleted`);
  return "and its trace expires in ten minutes";
}

async function embeddings(subject) {
  const text = "A check of the test page";
  const one = await subject.request("embeddings", { text });
  const two = await subject.request("embeddings", { text: [text, "Another one"] });
  require(Array.isArray(one.embeddings) && one.embeddings.length === one.dimensions, "one text did not give one vector");
  require(two.embeddings.length === 2, `two texts gave ${two.embeddings.length} vectors`);
  return `${one.model}: ${one.dimensions} dimensions, length ${norm(one.embeddings).toFixed(4)}`;
}

async function process(subject) {
  const data = { text: "tea", context: ["The kettle is blue", "Trains are late"] };
  const { predictions, significance } = await subject.request("process", data);
  require(predictions.length === 2, `two texts of context gave ${predictions.length} predictions`);
  return `significance ${significance.toFixed(3)}, first prediction "${predictions[0].text}"`;
}

async function badJson(subject) {
  const reply = await subject.exchange("{not json", "invalid_json");
  await subject.request("stats");
  return `"${reply.error}", and the connection goes on`;
}

async function unknownType(subject) {
  const reply = await subject.exchange('{"type":"no-such-command"}', "unknown_command");
  await subject.request("stats");
  return `"${reply.error.slice(0, 60)}…", and the connection goes on`;
}

async function reconnect(subject) {
  subject.close();
  await subject.connect();
  await subject.request("stats");
  return "a second connection answers";
}

const OWN = {
  memory: [["store", store], ["retrieve", retrieve], ["delete", remove]],
  inference: [["embeddings", embeddings], ["process", process]],
};

export function stepsFor(kind) {
  return [
    ["ready", ready], ["connect", connect], ["stats", stats], ...OWN[kind],
    ["bad JSON", badJson], ["unknown type", unknownType], ["reconnect", reconnect],
  ];
}

// Without a connection the steps after it would only repeat its reason.
export function isNeeded(title) {
  return title === "connect";
}
