"""LangChain and the `llm` command as clients, and google-genai's types on what reaches a Gemini provider."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
import urllib.request

import pydantic
from google.genai import types
from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

BASE_URL, PROVIDER_URL = os.environ["BASE_URL"], os.environ["PROVIDER_URL"]
TEXT = "Hello from the scripted provider."


class City(pydantic.BaseModel):
    city: str
    country: str
    population: int


def get_weather(city: str) -> str:
    """The weather in a city."""


def get_time(zone: str) -> str:
    """The time in a zone."""


class LangChain(unittest.TestCase):
    def of(self, model):
        """Both of its clients, on one model."""
        chat = ChatOpenAI(model=model, base_url=BASE_URL, api_key="sk-application", max_retries=0, stream_usage=True)
        return chat, ChatAnthropic(model=model, base_url=BASE_URL.removesuffix("/v1"), api_key="unused", max_retries=0, max_tokens=100)

    def test_text(self):
        for client in self.of("scripted/chat"):
            answer = client.invoke("Say hello.")
            self.assertEqual((answer.text, answer.usage_metadata["total_tokens"]), (TEXT, 18))

    def test_a_stream(self):
        for client in self.of("scripted/chat"):
            whole = None
            for chunk in client.stream("Say hello."):
                whole = chunk if whole is None else whole + chunk
            self.assertEqual((whole.text, whole.usage_metadata["output_tokens"]), (TEXT, 7))

    def test_tools(self):
        wanted = [("get_weather", {"city": "Paris"}), ("get_time", {"zone": "Europe/Berlin"})]
        for client in self.of("scripted/parallel-tools"):
            answer = client.bind_tools([get_weather, get_time]).invoke("Say hello.")
            self.assertEqual([(call["name"], call["args"]) for call in answer.tool_calls], wanted)

    def test_structured_output(self):
        for client in self.of("scripted/structured"):
            answer = client.with_structured_output(City, method="json_schema").invoke("Where?")
            self.assertEqual(answer, City(city="Paris", country="France", population=2102650))

    def test_embeddings(self):
        client = OpenAIEmbeddings(model="scripted/embed", base_url=BASE_URL, api_key="sk-application", check_embedding_ctx_length=False)
        self.assertEqual(client.embed_documents(["one", "two"]), [[0.25, -0.5, 1.0], [0.5, -0.5, 1.0]])


class Llm(unittest.TestCase):
    def test_a_prompt_whole_and_streamed(self):
        with tempfile.TemporaryDirectory() as folder:
            known = [{"model_id": "ours", "model_name": "scripted/chat", "api_base": BASE_URL}]
            # JSON is YAML.
            pathlib.Path(folder, "extra-openai-models.yaml").write_text(json.dumps(known))
            environment = {**os.environ, "LLM_USER_PATH": folder, "OPENAI_API_KEY": "sk-application"}
            for more in ([], ["--no-stream"]):
                command = [sys.executable, "-m", "llm", "prompt", "--model", "ours", "--no-log", *more, "Say hello."]
                done = subprocess.run(command, env=environment, capture_output=True, text=True)
                self.assertEqual((done.stdout.strip(), done.returncode), (TEXT, 0), done.stderr)


class Gemini(unittest.TestCase):
    """Whatever clients of either format say, what goes to Gemini is of the types of its own SDK, which know no other fields."""

    FIELDS = {
        "contents": lambda value: [types.Content.model_validate(each) for each in value],
        "systemInstruction": types.Content.model_validate,
        "tools": lambda value: [types.Tool.model_validate(each) for each in value],
        "toolConfig": types.ToolConfig.model_validate,
        "generationConfig": types.GenerationConfig.model_validate,
    }

    def post(self, path, body):
        data = json.dumps(body).encode()
        request = urllib.request.Request(f"{BASE_URL}{path}", data, {"content-type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            answer.read()
        with urllib.request.urlopen(f"{PROVIDER_URL}/seen") as answer:
            sent = json.load(answer)["requests"][-1]
        self.assertTrue(sent["path"].startswith("/v1beta/models/"), sent)
        self.assertLessEqual(set(sent["body"]), set(self.FIELDS))
        read = {name: self.FIELDS[name](value) for name, value in sent["body"].items()}
        # Nothing is lost in them, so the words are theirs as well.
        for name, value in read.items():
            told = [each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in (value if isinstance(value, list) else [value])]
            self.assertEqual(told if isinstance(value, list) else told[0], sent["body"][name])
        return read

    SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="

    def test_chat(self):
        call = {"id": "call_a", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Paris"}'}}
        picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{self.PIXEL}"}}
        messages = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Look."}, picture]},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_a", "content": "rain"},
            {"role": "user", "content": "And now?"},
        ]
        settings = {
            "max_tokens": 50, "temperature": 0.5, "top_p": 0.25, "seed": 7, "stop": ["END"], "presence_penalty": 0.5, "reasoning_effort": "medium",
            "tools": [{"type": "function", "function": {"name": "get_weather", "description": "d", "parameters": self.SCHEMA}}], "tool_choice": "auto",
        }
        for stream in (False, True):
            read = self.post("/chat/completions", {"model": "gemini/chat", "messages": messages, "stream": stream, **settings})
            self.assertEqual(read["contents"][1].parts[0].function_call.args, {"city": "Paris"})
            self.assertEqual(read["contents"][2].parts[0].function_response.response, {"result": "rain"})
            self.assertEqual(read["contents"][0].parts[1].inline_data.mime_type, "image/png")
            self.assertEqual((read["generationConfig"].top_p, read["generationConfig"].max_output_tokens), (0.25, 50))
        held = {"type": "json_schema", "json_schema": {"name": "city", "strict": True, "schema": self.SCHEMA}}
        read = self.post("/chat/completions", {"model": "gemini/chat", "messages": messages[:2], "response_format": held})
        self.assertEqual(read["generationConfig"].response_json_schema, self.SCHEMA)

    def test_messages(self):
        call = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Paris"}}
        result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "rain"}], "is_error": True}
        body = {
            "model": "gemini/chat", "max_tokens": 9_000, "system": [{"type": "text", "text": "Be brief."}], "top_k": 5,
            "messages": [{"role": "user", "content": "Look."}, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}],
            "tools": [{"name": "get_weather", "input_schema": self.SCHEMA}], "tool_choice": {"type": "any"},
            "thinking": {"type": "enabled", "budget_tokens": 5_000},
        }
        read = self.post("/messages", body)
        self.assertEqual(read["toolConfig"].function_calling_config.mode, types.FunctionCallingConfigMode.ANY)
        self.assertEqual(read["contents"][2].parts[0].function_response.response, {"error": "rain"})
        self.assertEqual(read["generationConfig"].thinking_config.include_thoughts, True)


if __name__ == "__main__":
    unittest.main()
