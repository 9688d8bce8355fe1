// Asks an OpenAI-compatible server through the `openai` package of npm, as its users do; prints what came.
// Run: NODE_PATH=<folder>/node_modules node openai_client.cjs BASE_URL MODEL
const OpenAI = require("openai").default ?? require("openai");

async function main(baseURL, model) {
  const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
  const texts = ["a quiet harbour", "a storm"];
  const byDefault = await client.embeddings.create({ model, input: texts });
  const floats = await client.embeddings.create({ model, input: texts, encoding_format: "float" });
  const failure = await client.embeddings.create({ model: "nope", input: "x" }).catch((error) => error);
  const models = [];
  for await (const each of await client.models.list()) models.push(each.id);
  console.log(
    JSON.stringify({
      byDefault: byDefault.data.map((each) => Array.from(each.embedding)),
      floats: floats.data.map((each) => each.embedding),
      usage: byDefault.usage,
      models,
      failure: { name: failure.constructor.name, status: failure.status, code: failure.code },
    }),
  );
}

main(process.argv[2], process.argv[3]).catch((error) => {
  console.error(error);
  process.exit(1);
});
