// What an application sees that uses Anthropic's Node SDK, while its provider speaks OpenAI's format.

import assert from "node:assert/strict";
import { test } from "node:test";

import Anthropic, * as anthropic from "@anthropic-ai/sdk";
import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";
import { z } from "zod";

// This SDK puts /v1 behind the address itself.
const baseURL = process.env.BASE_URL.replace(/\/v1$/, "");
const client = new Anthropic({ baseURL, apiKey: "unused", maxRetries: 0, timeout: 20_000 });
const TEXT = "Hello from the scripted provider.";
const ask = (model, more = {}) => ({ model, max_tokens: 100, messages: [{ role: "user", content: "Say hello." }], ...more });
const tools = ["get_weather", "get_time"].map((name) => ({ name, input_schema: { type: "object", properties: {} } }));
const CALLS = [["get_weather", { city: "Paris" }], ["get_time", { zone: "Europe/Berlin" }]];
const called = (message) => message.content.filter((block) => block.type === "tool_use").map((block) => [block.name, block.input]);

test("text", async () => {
  const message = await client.messages.create(ask("scripted/chat"));
  assert.deepEqual([message.content[0].text, message.stop_reason], [TEXT, "end_turn"]);
  assert.deepEqual([message.usage.input_tokens, message.usage.output_tokens], [11, 7]);
  assert.ok(message._request_id);
});

test("a stream by its helper", async () => {
  const heard = [];
  const stream = client.messages.stream(ask("scripted/chat")).on("text", (text) => heard.push(text));
  const message = await stream.finalMessage();
  assert.deepEqual([heard.join(""), message.content[0].text, message.usage.output_tokens], [TEXT, TEXT, 7]);
});

test("a stream by its events", async () => {
  const kinds = [];
  for await (const event of await client.messages.create(ask("scripted/chat", { stream: true }))) kinds.push(event.type);
  assert.deepEqual([kinds[0], kinds.at(-1)], ["message_start", "message_stop"]);
});

test("tools, whole and streamed", async () => {
  for (const [model, wanted] of [["scripted/tools", CALLS.slice(0, 1)], ["scripted/parallel-tools", CALLS]]) {
    const whole = await client.messages.create(ask(model, { tools }));
    const streamed = await client.messages.stream(ask(model, { tools })).finalMessage();
    for (const message of [whole, streamed]) assert.deepEqual([called(message), message.stop_reason], [wanted, "tool_use"]);
  }
});

test("structured output", async () => {
  const City = z.object({ city: z.string(), country: z.string(), population: z.number().int() });
  const message = await client.messages.parse(ask("scripted/structured", { output_config: { format: zodOutputFormat(City) } }));
  assert.deepEqual(message.parsed_output, { city: "Paris", country: "France", population: 2102650 });
});

const FAILURES = [
  [400, anthropic.BadRequestError, "invalid_request_error"],
  [404, anthropic.NotFoundError, "not_found_error"],
  [422, anthropic.UnprocessableEntityError, "invalid_request_error"],
  [429, anthropic.RateLimitError, "rate_limit_error"],
  [500, anthropic.InternalServerError, "api_error"],
];
for (const [status, kind, type] of FAILURES) {
  test(`a provider's ${status}`, async () => {
    const error = await client.messages.create(ask(`p${status}/fails-${status}`)).then(() => assert.fail("no error"), (error) => error);
    assert.ok(error instanceof kind, `${error}`);
    assert.deepEqual([error.status, error.error.type, error.error.error.type], [status, "error", type]);
  });
}

test("a stream that breaks off is an error", async () => {
  for (const model of ["scripted/cut", "scripted/error-event"]) {
    await assert.rejects(client.messages.stream(ask(model)).finalMessage(), anthropic.APIError, model);
  }
});

test("fallback", async () => {
  assert.equal((await client.messages.create(ask("falls-back"))).content[0].text, TEXT);
});

test("tokens are counted by whoever can", async () => {
  const { messages } = ask("");
  assert.equal((await client.messages.countTokens({ model: "counting/chat", messages })).input_tokens, 2095);
  await assert.rejects(client.messages.countTokens({ model: "scripted/chat", messages }), anthropic.NotFoundError);
});

test("models", async () => {
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  assert.ok(names.includes("scripted/chat"), names.join());
});
