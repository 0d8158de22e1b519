// The same calls made directly and through tollgate, by the Node SDK: equal, or an error.

import assert from "node:assert/strict";

import OpenAI from "openai";

const sdk = (baseURL) => new OpenAI({ baseURL, apiKey: "none", maxRetries: 0, timeout: 120_000 });
const direct = sdk(process.env.DIRECT_URL);
const gateway = sdk(process.env.BASE_URL);
const messages = [{ role: "user", content: "Name three rivers of Europe." }];
// One prompt gives one answer: no chance, and no leftovers of an earlier prompt.
const fixed = { temperature: 0, seed: 7, cache_prompt: false };
const properties = { city: { type: "string" }, country: { type: "string" } };
const schema = { type: "object", properties, required: ["city", "country"], additionalProperties: false };
const response_format = { type: "json_schema", json_schema: { name: "city", strict: true, schema } };

async function embed(client, model, more) {
  const answer = await client.embeddings.create({ model, input: ["a river", "a mountain"], ...more });
  return answer.data.map((each) => [...each.embedding]);
}

const calls = {
  chat: async (client, model) => {
    const answer = await client.chat.completions.create({ model, messages, max_tokens: 48, ...fixed });
    return [answer.choices[0].message.content, answer.choices[0].finish_reason, answer.usage.total_tokens];
  },
  stream: async (client, model) => {
    const told = [];
    for await (const chunk of await client.chat.completions.create({ model, messages, max_tokens: 48, stream: true, ...fixed }))
      for (const choice of chunk.choices) told.push([choice.delta.content, choice.finish_reason]);
    return told;
  },
  structured: async (client, model) => {
    const ask = [{ role: "user", content: "Give me one city and its country as JSON." }];
    const answer = await client.chat.completions.create({ model, messages: ask, max_tokens: 80, response_format, ...fixed });
    return JSON.parse(answer.choices[0].message.content);
  },
  embeddings: (client, model) => embed(client, model, {}),
  "float embeddings": (client, model) => embed(client, model, { encoding_format: "float" }),
};

for (const [name, call] of Object.entries(calls)) {
  const [wanted, got] = [await call(direct, "smollm2"), await call(gateway, "first/smollm2")];
  assert.deepEqual(got, wanted, name);
  console.log(`node: ${name}: equal: ${JSON.stringify(got).slice(0, 90)}`);
}
const names = [];
for await (const model of gateway.models.list()) names.push(model.id);
assert.ok(names.includes("first/smollm2"), names.join());
console.log(`node: models: ${names}`);
