// What an application sees that uses the official Node SDK and changed nothing but `baseURL`.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import OpenAI, * as openai from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const { BASE_URL, PROVIDER_URL, PROVIDER_KEY } = process.env;
const DIRECT = "DIRECT" in process.env;
const HELLO = [{ role: "user", content: "Say hello." }];
const TEXT = "Hello from the scripted provider.";
const CITY = { city: "Paris", country: "France", population: 2102650 };
const client = new OpenAI({ baseURL: BASE_URL, apiKey: "sk-application", maxRetries: 0, timeout: 20_000 });

const tool = (name, field) => ({
  type: "function",
  function: { name, parameters: { type: "object", properties: { [field]: { type: "string" } } } },
});
const TOOLS = [tool("get_weather", "city"), tool("get_time", "zone")];
const target = (model, provider = "scripted") => (DIRECT ? model : `${provider}/${model}`);
const seen = async () => (await fetch(`${PROVIDER_URL}/seen`)).json();
const attempts = async (model) => (await seen()).requests.filter((request) => request.model === model).length;
const hangUps = async (model) => (await seen()).hung_up.filter((each) => each.model === model).map((each) => each.at);
const through = (name, run) => test(name, { skip: DIRECT && "tollgate is left out" }, run);

async function text(stream) {
  let whole = "";
  for await (const chunk of stream) whole += chunk.choices[0]?.delta?.content ?? chunk.choices[0]?.text ?? "";
  return whole;
}

test("chat", async () => {
  const answer = await client.chat.completions.create({ model: target("chat"), messages: HELLO });
  assert.equal(answer.choices[0].message.content, TEXT);
  assert.equal(answer.usage.total_tokens, 18);
});

test("stream", async () => {
  const stream = await client.chat.completions.create({ model: target("chat"), messages: HELLO, stream: true });
  assert.equal(await text(stream), TEXT);
});

test("stream with usage", async () => {
  const asked = { model: target("chat"), messages: HELLO, stream: true, stream_options: { include_usage: true } };
  const usages = [];
  for await (const chunk of await client.chat.completions.create(asked)) if (chunk.usage) usages.push(chunk.usage.total_tokens);
  assert.deepEqual(usages, [18]);
});

test("stream helper", async () => {
  const stream = client.chat.completions.stream({ model: target("chat"), messages: HELLO });
  assert.equal(await stream.finalContent(), TEXT);
});

test("tools", async () => {
  const answer = await client.chat.completions.create({ model: target("tools"), messages: HELLO, tools: TOOLS });
  const calls = answer.choices[0].message.tool_calls;
  assert.deepEqual(calls.map((call) => [call.id, call.function.name]), [["call_a", "get_weather"]]);
});

test("parallel tools in a stream", async () => {
  const stream = client.chat.completions.stream({ model: target("parallel-tools"), messages: HELLO, tools: TOOLS });
  const { message, finish_reason } = (await stream.finalChatCompletion()).choices[0];
  const told = message.tool_calls.map((call) => [call.function.name, JSON.parse(call.function.arguments)]);
  assert.deepEqual(told, [["get_weather", { city: "Paris" }], ["get_time", { zone: "Europe/Berlin" }]]);
  assert.equal(finish_reason, "tool_calls");
});

test("structured output", async () => {
  const properties = { city: { type: "string" }, country: { type: "string" }, population: { type: "integer" } };
  const schema = { type: "object", properties, required: Object.keys(properties), additionalProperties: false };
  const response_format = { type: "json_schema", json_schema: { name: "city", strict: true, schema } };
  const answer = await client.chat.completions.create({ model: target("structured"), messages: HELLO, response_format });
  assert.deepEqual(JSON.parse(answer.choices[0].message.content), CITY);
});

test("structured output by its helper", async () => {
  const City = z.object({ city: z.string(), country: z.string(), population: z.number().int() });
  const asked = { model: target("structured"), messages: HELLO, response_format: zodResponseFormat(City, "city") };
  assert.deepEqual((await client.chat.completions.parse(asked)).choices[0].message.parsed, CITY);
  assert.deepEqual((await client.chat.completions.stream(asked).finalChatCompletion()).choices[0].message.parsed, CITY);
});

test("embeddings, base64 where nothing is named", async () => {
  for (const [more, asked] of [[{}, "base64"], [{ encoding_format: "float" }, "float"]]) {
    const answer = await client.embeddings.create({ model: target("embed"), input: ["one", "two"], ...more });
    assert.deepEqual(answer.data.map((each) => [...each.embedding]), [[0.25, -0.5, 1], [0.5, -0.5, 1]]);
    assert.equal((await seen()).requests.at(-1).body.encoding_format, asked);
  }
});

test("legacy completions", async () => {
  const asked = { model: target("chat"), prompt: "Say hello." };
  assert.equal((await client.completions.create(asked)).choices[0].text, TEXT);
  assert.equal(await text(await client.completions.create({ ...asked, stream: true })), TEXT);
});

test("models", async () => {
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  assert.ok(names.includes(target("chat")), names.join());
  if (!DIRECT) assert.equal((await client.models.retrieve("scripted/chat")).id, "scripted/chat");
});

through("responses", async () => {
  const ask = { model: "scripted/chat", input: "Say hello.", instructions: "Be brief." };
  assert.equal((await client.responses.create(ask)).output_text, TEXT);
  assert.equal((await client.responses.stream(ask).finalResponse()).output[0].content[0].text, TEXT);
  const City = z.object({ city: z.string(), country: z.string(), population: z.number().int() });
  const parsed = await client.responses.parse({ ...ask, model: "scripted/structured", text: { format: zodTextFormat(City, "city") } });
  assert.deepEqual(parsed.output_parsed, CITY);
});

through("headers of an answer", async () => {
  const { response } = await client.chat.completions.create({ model: "scripted/chat", messages: HELLO }).withResponse();
  assert.equal(response.headers.get("x-tollgate-target"), "scripted/chat");
  assert.equal(response.headers.get("x-tollgate-rule"), "named-by-the-client");
  assert.ok(response.headers.get("x-tollgate-revision"));
});

through("fallback", async () => {
  for (const model of ["falls-back", "falls-back-in-a-stream"]) {
    const asked = client.chat.completions.create({ model, messages: HELLO, stream: true });
    const { data, response } = await asked.withResponse();
    assert.equal(response.headers.get("x-tollgate-target"), "scripted/chat");
    assert.equal(await text(data), TEXT);
  }
});

const FAILURES = [
  ["400", openai.BadRequestError, 400, "invalid_value", 1],
  ["401", openai.InternalServerError, 502, "upstream_auth", 1],
  ["403", openai.PermissionDeniedError, 403, "upstream_permission", 1],
  ["404", openai.NotFoundError, 404, "upstream_model_not_found", 1],
  ["422", openai.UnprocessableEntityError, 422, null, 1],
  ["429", openai.RateLimitError, 429, "rate_limit_exceeded", 1],
  ["500", openai.InternalServerError, 500, "upstream_error", 2],
  ["503", openai.InternalServerError, 503, "server_is_overloaded", 2],
];
for (const [failure, kind, status, code, tried] of FAILURES) {
  through(`a provider's ${failure}`, async () => {
    const model = `fails-${failure}`;
    const before = await attempts(model);
    const asked = client.chat.completions.create({ model: `p${failure}/${model}`, messages: HELLO });
    const error = await asked.then(() => assert.fail("no error"), (error) => error);
    assert.ok(error instanceof kind, `${error}`);
    assert.deepEqual([error.status, error.code], [status, code]);
    assert.equal((await attempts(model)) - before, tried);
    const said = `${error} ${JSON.stringify(error.error)} ${JSON.stringify([...error.headers])}`;
    assert.ok(!said.includes(PROVIDER_KEY), "the provider's key is told");
    assert.ok(!said.includes(new URL(PROVIDER_URL).host), "the provider's host is told");
  });
}

through("tollgate's own 401 and 404", async () => {
  const headers = { "x-forwarded-for": "203.0.113.7" };
  const proxied = client.chat.completions.create({ model: "scripted/chat", messages: HELLO }, { headers });
  await assert.rejects(proxied, (error) => error instanceof openai.AuthenticationError && /tollgate key new/.test(error.message));
  const unknown = client.chat.completions.create({ model: "no-such-model", messages: HELLO });
  await assert.rejects(unknown, (error) => error instanceof openai.NotFoundError && error.code === "model_not_found");
});

through("a cut stream never looks complete", async () => {
  for (const model of ["cut", "error-event"]) {
    const finishes = [];
    const read = async () => {
      const stream = await client.chat.completions.create({ model: target(model), messages: HELLO, stream: true });
      for await (const chunk of stream) if (chunk.choices[0]?.finish_reason) finishes.push(chunk.choices[0].finish_reason);
    };
    await assert.rejects(read(), openai.APIError);
    assert.deepEqual(finishes, []);
  }
});

test("a disconnect closes the upstream within 100 ms", async () => {
  for (const [model, stream] of [["endless", true], ["silent", false]]) {
    const before = (await hangUps(model)).length;
    const asked = await attempts(model);
    const controller = new AbortController();
    const call = client.chat.completions.create({ model: target(model), messages: HELLO, stream }, { signal: controller.signal });
    if (stream) {
      const chunks = (await call)[Symbol.asyncIterator]();
      for (let count = 0; count < 3; count += 1) await chunks.next();
    } else {
      call.catch(() => {});
      while ((await attempts(model)) === asked) await sleep(10);
    }
    const at = Number(process.hrtime.bigint()) / 1e9;
    controller.abort();
    let times = [];
    for (let tries = 0; times.length <= before && tries < 100; tries += 1) {
      await sleep(10);
      times = await hangUps(model);
    }
    const took = 1e3 * (times[before] - at);
    console.log(`node: hung up, seen by the provider of \`${model}\` after ${took.toFixed(1)} ms`);
    assert.ok(took < 100, `${took} ms`);
  }
});
