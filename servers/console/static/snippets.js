// Code to copy into a terminal or an editor; every text is quoted as its language wants it.

import { httpAddress } from "/console/health.js";

// JSON without booleans and nulls, as these requests are, is written alike in Python and JavaScript.
const quoted = (value) => JSON.stringify(value);

// Inside single quotes a shell takes everything as it is but the quote itself.
const shellQuoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

export function websocketPython(url, request) {
  return [
    "# pip install websockets",
    "import json",
    "from websockets.sync.client import connect",
    "",
    `with connect(${quoted(url)}) as server:`,
    `    server.send(json.dumps(${quoted(request)}))`,
    "    print(json.loads(server.recv()))",
  ].join("\n");
}

export function websocketBrowser(url, request) {
  return [
    `const socket = new WebSocket(${quoted(url)});`,
    `socket.onopen = () => socket.send(JSON.stringify(${quoted(request)}));`,
    "socket.onmessage = (event) => console.log(JSON.parse(event.data));",
  ].join("\n");
}

export function embeddingsPython(url, texts) {
  return websocketPython(url, { type: "embeddings", data: { text: texts.length === 1 ? texts[0] : texts } });
}

export function embeddingsCurl(url, texts, model) {
  const body = JSON.stringify({ model, input: texts, encoding_format: "float" });
  return [
    `curl -s ${httpAddress(url, "/v1/embeddings")} \\`,
    "  -H 'content-type: application/json' \\",
    `  -d ${shellQuoted(body)}`,
  ].join("\n");
}

export function openaiPython(url, model) {
  return [
    "# pip install openai",
    "from openai import OpenAI",
    "",
    `client = OpenAI(base_url=${quoted(httpAddress(url, "/v1"))}, api_key="not-needed")`,
    `reply = client.embeddings.create(model=${quoted(model)}, input=["The kettle is blue"])`,
    "print(len(reply.data[0].embedding))",
  ].join("\n");
}

export function curl(url, path) {
  return `curl -s ${httpAddress(url, path)}`;
}
