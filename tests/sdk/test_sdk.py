"""What an application sees that uses the official Python SDK and changed nothing but `base_url`."""

import asyncio
import json
import os
import sys
import time
import unittest
import urllib.request

import openai
import pydantic

BASE_URL, PROVIDER_URL, KEY = os.environ["BASE_URL"], os.environ["PROVIDER_URL"], os.environ["PROVIDER_KEY"]
DIRECT = "DIRECT" in os.environ
HELLO = [{"role": "user", "content": "Say hello."}]
TEXT = "Hello from the scripted provider."
CLIENT = openai.OpenAI(base_url=BASE_URL, api_key="sk-application", max_retries=0, timeout=20)
WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}
TIME = {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {"zone": {"type": "string"}}}}}


class City(pydantic.BaseModel):
    city: str
    country: str
    population: int


def target(model, provider="scripted"):
    return model if DIRECT else f"{provider}/{model}"


def seen():
    with urllib.request.urlopen(f"{PROVIDER_URL}/seen") as answer:
        return json.load(answer)


def attempts(model):
    return sum(request["model"] == model for request in seen()["requests"])


async def hung_up_at(model, before):
    """When the provider saw its client go, of the hang-ups beyond the first `before`."""
    for _ in range(100):
        times = [each["at"] for each in seen()["hung_up"] if each["model"] == model]
        if len(times) > before:
            return times[before]
        await asyncio.sleep(0.01)
    raise AssertionError(f"the provider never saw the client of `{model}` go")


def hang_ups(model):
    return sum(each["model"] == model for each in seen()["hung_up"])


class Answers(unittest.TestCase):
    def test_chat(self):
        answer = CLIENT.chat.completions.create(model=target("chat"), messages=HELLO)
        self.assertEqual(answer.choices[0].message.content, TEXT)
        self.assertEqual(answer.choices[0].finish_reason, "stop")
        self.assertEqual((answer.usage.prompt_tokens, answer.usage.completion_tokens), (11, 7))

    def test_stream(self):
        chunks = list(CLIENT.chat.completions.create(model=target("chat"), messages=HELLO, stream=True))
        self.assertEqual("".join(chunk.choices[0].delta.content or "" for chunk in chunks), TEXT)
        self.assertEqual(chunks[-1].choices[0].finish_reason, "stop")
        self.assertTrue(all(chunk.choices for chunk in chunks), "a usage chunk that nobody asked for")

    def test_stream_with_usage(self):
        options = {"include_usage": True}
        chunks = list(CLIENT.chat.completions.create(model=target("chat"), messages=HELLO, stream=True, stream_options=options))
        self.assertEqual([chunk.usage.total_tokens for chunk in chunks if chunk.usage], [18])
        self.assertEqual(chunks[-1].choices, [])

    def test_stream_helper(self):
        with CLIENT.chat.completions.stream(model=target("chat"), messages=HELLO) as stream:
            self.assertEqual(stream.get_final_completion().choices[0].message.content, TEXT)

    def test_async_stream(self):
        async def ask():
            async with openai.AsyncOpenAI(base_url=BASE_URL, api_key="sk-application", max_retries=0) as client:
                stream = await client.chat.completions.create(model=target("chat"), messages=HELLO, stream=True)
                return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        self.assertEqual(asyncio.run(ask()), TEXT)

    def test_tools(self):
        message = CLIENT.chat.completions.create(model=target("tools"), messages=HELLO, tools=[WEATHER]).choices[0].message
        self.assertEqual([(call.id, call.function.name) for call in message.tool_calls], [("call_a", "get_weather")])
        self.assertEqual(json.loads(message.tool_calls[0].function.arguments), {"city": "Paris"})

    def test_parallel_tools(self):
        tools = [WEATHER, TIME]
        message = CLIENT.chat.completions.create(model=target("parallel-tools"), messages=HELLO, tools=tools).choices[0].message
        self.assertEqual([call.function.name for call in message.tool_calls], ["get_weather", "get_time"])

    def test_parallel_tools_in_a_stream(self):
        with CLIENT.chat.completions.stream(model=target("parallel-tools"), messages=HELLO, tools=[WEATHER, TIME]) as stream:
            choice = stream.get_final_completion().choices[0]
        told = [(call.id, call.function.name, json.loads(call.function.arguments)) for call in choice.message.tool_calls]
        self.assertEqual(told, [("call_a", "get_weather", {"city": "Paris"}), ("call_b", "get_time", {"zone": "Europe/Berlin"})])
        self.assertEqual(choice.finish_reason, "tool_calls")

    def test_structured_output(self):
        wanted = City(city="Paris", country="France", population=2102650)
        answer = CLIENT.chat.completions.parse(model=target("structured"), messages=HELLO, response_format=City)
        self.assertEqual(answer.choices[0].message.parsed, wanted)
        with CLIENT.chat.completions.stream(model=target("structured"), messages=HELLO, response_format=City) as stream:
            self.assertEqual(stream.get_final_completion().choices[0].message.parsed, wanted)

    def test_embeddings(self):
        wanted = [[0.25, -0.5, 1.0], [0.5, -0.5, 1.0]]
        # The SDK asks for base64 where the caller names nothing.
        for more, asked in [({}, "base64"), ({"encoding_format": "float"}, "float"), ({"encoding_format": "base64"}, "base64")]:
            answer = CLIENT.embeddings.create(model=target("embed"), input=["one", "two"], **more)
            if more.get("encoding_format") != "base64":
                self.assertEqual([each.embedding for each in answer.data], wanted)
            self.assertEqual(seen()["requests"][-1]["body"]["encoding_format"], asked)

    def test_legacy_completions(self):
        self.assertEqual(CLIENT.completions.create(model=target("chat"), prompt="Say hello.").choices[0].text, TEXT)
        chunks = CLIENT.completions.create(model=target("chat"), prompt="Say hello.", stream=True)
        self.assertEqual("".join(chunk.choices[0].text for chunk in chunks if chunk.choices), TEXT)

    @unittest.skipIf(DIRECT, "the provider speaks the other API")
    def test_responses(self):
        ask = {"model": target("chat"), "input": "Say hello.", "instructions": "Be brief."}
        answer = CLIENT.responses.create(**ask)
        self.assertEqual((answer.output_text, answer.status, answer.usage.total_tokens), (TEXT, "completed", 18))
        with CLIENT.responses.stream(**ask) as stream:
            deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
            self.assertEqual(("".join(deltas), stream.get_final_response().output_text), (TEXT, TEXT))

    @unittest.skipIf(DIRECT, "the provider speaks the other API")
    def test_responses_with_tools(self):
        tools = [{"type": "function", **each["function"], "strict": False} for each in (WEATHER, TIME)]
        wanted = [("get_weather", {"city": "Paris"}), ("get_time", {"zone": "Europe/Berlin"})]
        ask = {"model": target("parallel-tools"), "input": "Say hello.", "tools": tools}
        with CLIENT.responses.stream(**ask) as stream:
            streamed = stream.get_final_response()
        for answer in (CLIENT.responses.create(**ask), streamed):
            self.assertEqual([(call.name, json.loads(call.arguments)) for call in answer.output], wanted)

    @unittest.skipIf(DIRECT, "the provider speaks the other API")
    def test_responses_with_structured_output(self):
        ask = {"model": target("structured"), "input": "Where?", "text_format": City}
        with CLIENT.responses.stream(**ask) as stream:
            streamed = stream.get_final_response()
        for answer in (CLIENT.responses.parse(**ask), streamed):
            self.assertEqual(answer.output_parsed, City(city="Paris", country="France", population=2102650))

    @unittest.skipIf(DIRECT, "the provider speaks the other API")
    def test_responses_that_fail(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            CLIENT.responses.create(model=target("fails-400", "p400"), input="x")
        self.assertEqual((caught.exception.code, caught.exception.param), ("invalid_value", "temperature"))
        for model in ("cut", "error-event"):
            with self.assertRaises((openai.APIError, RuntimeError)):
                with CLIENT.responses.stream(model=target(model), input="x") as stream:
                    stream.get_final_response()

    def test_models(self):
        names = [model.id for model in CLIENT.models.list()]
        self.assertIn(target("chat"), names)
        if not DIRECT:
            self.assertIn("auto", names)
            self.assertEqual(CLIENT.models.retrieve("scripted/chat").id, "scripted/chat")

    def test_unknown_fields_pass(self):
        number = 12345678901234567890
        more = {"x_new_field": {"deep": [1.0, number, "ü\u2028"]}}
        CLIENT.chat.completions.create(model=target("chat"), messages=HELLO, extra_body=more)
        self.assertEqual(seen()["requests"][-1]["body"]["x_new_field"], more["x_new_field"])


@unittest.skipIf(DIRECT, "tollgate is left out")
class Gateway(unittest.TestCase):
    def fails(self, wanted, model, provider, status, code, tried=1, **more):
        """Asks for what fails; gives the exception back after checking what all of them promise."""
        before = attempts(model)
        with self.assertRaises(wanted) as caught:
            CLIENT.chat.completions.create(model=target(model, provider), messages=HELLO, **more)
        error = caught.exception
        self.assertEqual((error.status_code, error.code), (status, code), error)
        self.assertEqual(attempts(model) - before, tried, "attempts that reached the provider")
        self.assertEqual(set(error.response.json()["error"]), {"message", "type", "param", "code"})
        for said in (str(error), error.response.text, str(error.response.headers)):
            self.assertNotIn(KEY, said)
            self.assertNotIn(PROVIDER_URL.removeprefix("http://"), said)
        self.assertTrue(error.response.headers["x-request-id"])
        self.assertIn(error.response.headers["x-should-retry"], ("true", "false"))
        return error

    def test_headers_of_an_answer(self):
        answer = CLIENT.chat.completions.with_raw_response.create(model="scripted/chat", messages=HELLO)
        self.assertEqual(answer.headers["x-tollgate-rule"], "named-by-the-client")
        self.assertEqual(answer.headers["x-tollgate-target"], "scripted/chat")
        self.assertEqual(answer.headers["x-tollgate-attempts"], "1")
        self.assertTrue(answer.headers["x-tollgate-revision"])
        self.assertEqual(answer.parse().choices[0].message.content, TEXT)

    def test_headers_that_reach_the_provider(self):
        CLIENT.chat.completions.create(model="scripted/chat", messages=HELLO, extra_headers={"x-tollgate-labels": "feature=x"})
        request = seen()["requests"][-1]
        self.assertEqual(request["model"], "chat")
        self.assertEqual(request["headers"]["authorization"], f"Bearer {KEY}")
        self.assertTrue(request["headers"]["user-agent"].startswith("tollgate/"))
        self.assertEqual([name for name in request["headers"] if name.startswith(("x-stainless", "x-tollgate"))], [])

    def test_fallback(self):
        for model, stream in [("falls-back", False), ("falls-back", True), ("falls-back-in-a-stream", True)]:
            answer = CLIENT.chat.completions.with_raw_response.create(model=model, messages=HELLO, stream=stream)
            self.assertEqual(answer.headers["x-tollgate-target"], "scripted/chat")
            if not stream:
                self.assertEqual(answer.parse().choices[0].message.content, TEXT)
            else:
                self.assertEqual("".join(chunk.choices[0].delta.content or "" for chunk in answer.parse()), TEXT)

    def test_400(self):
        error = self.fails(openai.BadRequestError, "fails-400", "p400", 400, "invalid_value")
        self.assertIn("Invalid value for 'temperature'.", error.message)
        self.assertEqual((error.param, error.type), ("temperature", "invalid_request_error"))
        self.assertEqual(error.response.headers["x-should-retry"], "false")

    def test_422(self):
        self.assertEqual(self.fails(openai.UnprocessableEntityError, "fails-422", "p422", 422, None).param, "messages")

    def test_own_401(self):
        with self.assertRaises(openai.AuthenticationError) as caught:
            CLIENT.with_options(default_headers={"x-forwarded-for": "203.0.113.7"}).chat.completions.create(model="scripted/chat", messages=HELLO)
        self.assertIn("tollgate key new", str(caught.exception))

    def test_401_of_the_provider(self):
        error = self.fails(openai.InternalServerError, "fails-401", "p401", 502, "upstream_auth")
        self.assertEqual((error.type, error.response.headers["x-should-retry"]), ("upstream_error", "false"))

    def test_403(self):
        error = self.fails(openai.PermissionDeniedError, "fails-403", "p403", 403, "upstream_permission")
        self.assertEqual(error.type, "permission_error")

    def test_404(self):
        self.fails(openai.NotFoundError, "fails-404", "p404", 404, "upstream_model_not_found")

    def test_404_of_an_unknown_model(self):
        with self.assertRaises(openai.NotFoundError) as caught:
            CLIENT.chat.completions.create(model="no-such-model", messages=HELLO)
        self.assertEqual(caught.exception.code, "model_not_found")

    def test_409(self):
        self.fails(openai.InternalServerError, "fails-409", "p409", 503, "server_is_overloaded", tried=2)

    def test_429(self):
        error = self.fails(openai.RateLimitError, "fails-429", "p429", 429, "rate_limit_exceeded")
        self.assertEqual(error.type, "rate_limit_error")
        self.assertIn(int(error.response.headers["retry-after"]), range(1, 31))
        self.assertEqual(error.response.headers["x-should-retry"], "true")

    def test_500(self):
        # The only step of its chain, so the same target is tried once more.
        self.fails(openai.InternalServerError, "fails-500", "p500", 500, "upstream_error", tried=2)

    def test_503(self):
        error = self.fails(openai.InternalServerError, "fails-503", "p503", 503, "server_is_overloaded", tried=2)
        self.assertEqual(error.type, "service_unavailable_error")

    def test_error_as_the_first_event(self):
        self.fails(openai.InternalServerError, "fails-event", "pevent", 503, "server_is_overloaded", tried=2, stream=True)

    def test_bad_call(self):
        for more, param in [({"max_tokens": -1}, "max_tokens"), ({"n": 0}, "n"), ({"temperature": "hot"}, None)]:
            if param:
                with self.assertRaises(openai.BadRequestError) as caught:
                    CLIENT.chat.completions.create(model="scripted/chat", messages=HELLO, extra_body=more)
                self.assertEqual(caught.exception.param, param)

    def test_a_cut_stream_never_looks_complete(self):
        for model in ("cut", "error-event"):
            finishes = []
            with self.assertRaises(openai.APIError):
                for chunk in CLIENT.chat.completions.create(model=target(model), messages=HELLO, stream=True):
                    finishes += [choice.finish_reason for choice in chunk.choices if choice.finish_reason]
            self.assertEqual(finishes, [])

    def hangs_up(self, model, **more):
        """Cancels a request; milliseconds until the provider saw it."""
        async def ask():
            async with openai.AsyncOpenAI(base_url=BASE_URL, api_key="sk-application", max_retries=0) as client:
                before, asked = hang_ups(model), attempts(model)
                if more.get("stream"):
                    stream = await client.chat.completions.create(model=target(model), messages=HELLO, **more)
                    for _ in range(3):
                        await anext(stream)
                    at = time.monotonic()
                    await stream.close()
                else:
                    task = asyncio.ensure_future(client.chat.completions.create(model=target(model), messages=HELLO, **more))
                    while attempts(model) == asked:
                        await asyncio.sleep(0.01)
                    at = time.monotonic()
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
                return 1e3 * (await hung_up_at(model, before) - at)

        return asyncio.run(ask())

    def test_a_disconnect_closes_the_upstream_within_100_ms(self):
        for model, more in [("endless", {"stream": True}), ("silent", {}), ("silent", {"stream": False})]:
            took = self.hangs_up(model, **more)
            print(f"python: hung up, seen by the provider of `{model}` after {took:.1f} ms", flush=True)
            self.assertLess(took, 100)


if __name__ == "__main__":
    program = unittest.main(exit=False, verbosity=2)
    failed = len(program.result.failures) + len(program.result.errors)
    print(f"python: {program.result.testsRun - failed - len(program.result.skipped)} passed, {failed} failed", flush=True)
    sys.exit(1 if failed else 0)
