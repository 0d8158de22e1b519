"""The official anthropic Python SDK against tollgate, behind which a provider speaks OpenAI's format."""

import asyncio
import os
import unittest

import anthropic
import pydantic

# This SDK puts /v1 behind the address itself.
URL = os.environ["BASE_URL"].removesuffix("/v1")
HELLO = [{"role": "user", "content": "Say hello."}]
SAID = "Hello from the scripted provider."
TOOLS = [{"name": name, "input_schema": {"type": "object", "properties": {}}} for name in ("get_weather", "get_time")]
CALLS = [("get_weather", {"city": "Paris"}), ("get_time", {"zone": "Europe/Berlin"})]


class City(pydantic.BaseModel):
    city: str
    country: str
    population: int


def client(**settings):
    return anthropic.Anthropic(base_url=URL, api_key="unused", **{"max_retries": 0, **settings})


def ask(model, **more):
    return {"model": model, "max_tokens": 100, "messages": HELLO, **more}


def called(message):
    return [(block.name, block.input) for block in message.content if block.type == "tool_use"]


class Sdk(unittest.TestCase):
    def test_text(self):
        message = client().messages.create(**ask("scripted/chat"))
        self.assertEqual((message.content[0].text, message.stop_reason), (SAID, "end_turn"))
        self.assertEqual((message.usage.input_tokens, message.usage.output_tokens), (11, 7))
        self.assertTrue(message._request_id)

    def test_a_stream(self):
        with client().messages.stream(**ask("scripted/chat")) as stream:
            text = "".join(stream.text_stream)
            message = stream.get_final_message()
        self.assertEqual((text, message.content[0].text, message.usage.output_tokens), (SAID, SAID, 7))

    def test_a_stream_without_threads(self):
        async def text():
            async with anthropic.AsyncAnthropic(base_url=URL, api_key="unused") as client:
                async with client.messages.stream(**ask("scripted/chat")) as stream:
                    return await stream.get_final_text()

        self.assertEqual(asyncio.run(text()), SAID)

    def test_tools_whole_and_streamed(self):
        for model, wanted in (("scripted/tools", CALLS[:1]), ("scripted/parallel-tools", CALLS)):
            message = client().messages.create(**ask(model, tools=TOOLS))
            self.assertEqual((called(message), message.stop_reason), (wanted, "tool_use"), model)
            with client().messages.stream(**ask(model, tools=TOOLS)) as stream:
                message = stream.get_final_message()
            self.assertEqual((called(message), message.stop_reason), (wanted, "tool_use"), model)

    def test_structured_output(self):
        wanted = City(city="Paris", country="France", population=2102650)
        self.assertEqual(client().messages.parse(**ask("scripted/structured", output_format=City)).parsed_output, wanted)
        with client().messages.stream(**ask("scripted/structured", output_format=City)) as stream:
            self.assertEqual(stream.get_final_message().parsed_output, wanted)

    def test_errors_have_their_types(self):
        for status, kind in (
            (400, anthropic.BadRequestError),
            (422, anthropic.UnprocessableEntityError),
            (429, anthropic.RateLimitError),
            (500, anthropic.InternalServerError),
            (503, anthropic.OverloadedError),
        ):
            with self.assertRaises(kind) as raised:
                client().messages.create(**ask(f"p{status}/fails-{status}"))
            self.assertEqual(raised.exception.body["type"], "error")

    def test_a_stream_that_breaks_off_is_an_error(self):
        for model in ("scripted/cut", "scripted/error-event"):
            with self.assertRaises((anthropic.APIError, anthropic.APIConnectionError), msg=model):
                with client().messages.stream(**ask(model)) as stream:
                    stream.get_final_message()

    def test_fallback(self):
        self.assertEqual(client().messages.create(**ask("falls-back")).content[0].text, SAID)

    def test_tokens_are_counted_by_whoever_can(self):
        self.assertEqual(client().messages.count_tokens(model="counting/chat", messages=HELLO).input_tokens, 2095)
        # A provider of OpenAI's format cannot.
        with self.assertRaises(anthropic.NotFoundError):
            client().messages.count_tokens(model="scripted/chat", messages=HELLO)

    def test_models(self):
        self.assertIn("scripted/chat", [model.id for model in client().models.list()])


if __name__ == "__main__":
    unittest.main()
