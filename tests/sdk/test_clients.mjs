// The Vercel AI SDK, by its OpenAI and its Anthropic provider.

import assert from "node:assert/strict";
import { test } from "node:test";

import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { APICallError, generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const { BASE_URL } = process.env;
const TEXT = "Hello from the scripted provider.";
const CITY = { city: "Paris", country: "France", population: 2102650 };
const openai = createOpenAI({ baseURL: BASE_URL, apiKey: "sk-application" });
const anthropic = createAnthropic({ baseURL: BASE_URL, apiKey: "unused" });
const City = z.object({ city: z.string(), country: z.string(), population: z.number().int() });
const tools = {
  get_weather: tool({ inputSchema: z.object({ city: z.string() }) }),
  get_time: tool({ inputSchema: z.object({ zone: z.string() }) }),
};

const KINDS = [
  ["openai", (name) => openai.chat(`scripted/${name}`)],
  // What it speaks where nothing is said.
  ["openai responses", (name) => openai(`scripted/${name}`)],
  ["anthropic", (name) => anthropic(`scripted/${name}`)],
];
for (const [name, model] of KINDS) {
  const ask = (of, more = {}) => ({ model: model(of), prompt: "Say hello.", maxRetries: 0, ...more });

  test(`${name}: text`, async () => {
    const { text, finishReason, usage } = await generateText(ask("chat"));
    assert.deepEqual([text, finishReason, usage.inputTokens, usage.outputTokens], [TEXT, "stop", 11, 7]);
  });

  test(`${name}: a stream`, async () => {
    const stream = streamText(ask("chat"));
    let text = "";
    for await (const piece of stream.textStream) text += piece;
    assert.deepEqual([text, await stream.finishReason, (await stream.usage).outputTokens], [TEXT, "stop", 7]);
  });

  test(`${name}: tools, whole and streamed`, async () => {
    const wanted = [["get_weather", { city: "Paris" }], ["get_time", { zone: "Europe/Berlin" }]];
    const called = (calls) => calls.map((call) => [call.toolName, call.input]);
    const stopWhen = stepCountIs(1);
    assert.deepEqual(called((await generateText(ask("parallel-tools", { tools, stopWhen }))).toolCalls), wanted);
    const stream = streamText(ask("parallel-tools", { tools, stopWhen }));
    assert.deepEqual(called(await stream.toolCalls), wanted);
  });

  test(`${name}: an error`, async () => {
    const failing = { openai: openai.chat, "openai responses": openai, anthropic }[name]("p400/fails-400");
    await assert.rejects(generateText({ ...ask("chat"), model: failing }), (error) => APICallError.isInstance(error) && error.statusCode === 400);
  });
}

test("openai: structured output", async () => {
  const { output } = await generateText({ model: openai.chat("scripted/structured"), prompt: "Where?", output: Output.object({ schema: City }), maxRetries: 0 });
  assert.deepEqual(output, CITY);
});
