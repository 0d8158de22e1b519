"""A scripted provider of the OpenAI format: the model's name says how it behaves. Standard library only.

    chat            a short answer, streamed where asked
    tools           one tool call          parallel-tools   two, their pieces interleaved in a stream
    structured      JSON of the schema that was asked for
    embed           embeddings, base64 or float as asked
    fails-NNN       an error answer of that status, in the format's own shape
    fails-event     a stream whose first event is an error
    cut             a stream that ends in the middle      error-event   a stream with an error in the middle
    endless         a stream that goes on until the client hangs up
    silent          no answer until the client hangs up

Beside OpenAI's format it counts tokens as Anthropic does, and answers as Gemini does: text, or the one tool call.

GET /seen tells what was asked, and when which client hung up (seconds of CLOCK_MONOTONIC).
"""

import asyncio
import base64
import json
import struct
import sys
import time

SEEN = {"requests": [], "hung_up": []}
WORDS = ["Hello", " from", " the", " scripted", " provider", "."]
CITY = '{"city":"Paris","country":"France","population":2102650}'
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
CALLS = [("call_a", "get_weather", '{"city":"Paris"}'), ("call_b", "get_time", '{"zone":"Europe/Berlin"}')]
# What a careless provider says: the key that was sent, a host, a file.
ERRORS = {
    400: {"message": "Invalid value for 'temperature'.", "type": "invalid_request_error", "param": "temperature", "code": "invalid_value"},
    401: {"message": "Incorrect API key provided: {key}.", "type": "invalid_request_error", "param": None, "code": "invalid_api_key"},
    403: {"message": "Your organisation may not use this.", "type": "invalid_request_error", "param": None, "code": "forbidden"},
    404: {"message": "The model does not exist.", "type": "invalid_request_error", "param": None, "code": "model_not_found"},
    409: {"message": "Conflict.", "type": "invalid_request_error", "param": None, "code": None},
    422: {"message": "Unprocessable.", "type": "invalid_request_error", "param": "messages", "code": None},
    429: {"message": "Rate limit reached.", "type": "requests", "param": None, "code": "rate_limit_exceeded"},
    500: {"message": "The server had an error.", "type": "server_error", "param": None, "code": None},
    503: {"message": "The engine is overloaded.", "type": "server_error", "param": None, "code": None},
}


class HungUp(Exception):
    """The client closed the connection while it was being answered."""


def envelope(model, choices, **more):
    return {"id": "chatcmpl-scripted", "object": "chat.completion", "created": 1700000000, "model": model, "choices": choices, **more}


def embedding(number):
    return [0.25 * (number + 1), -0.5, 1.0]


class Exchange:
    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def read_request(self):
        head = await self.reader.readuntil(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").split("\r\n")
        self.method, self.path, _ = line.split(" ", 2)
        self.headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields if field)}
        if self.headers.get("transfer-encoding") == "chunked":
            data = b""
            while size := int(await self.reader.readline(), 16):
                data += await self.reader.readexactly(size)
                await self.reader.readline()
            await self.reader.readline()
        else:
            data = await self.reader.readexactly(int(self.headers.get("content-length", 0)))
        self.body = json.loads(data) if data else {}

    def write_head(self, status, kind, length=None, **more):
        framing = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
        extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in more.items())
        self.writer.write(f"HTTP/1.1 {status} Scripted\r\ncontent-type: {kind}\r\n{extra}{framing}\r\n\r\n".encode())

    def answer(self, value, status=200, **headers):
        data = json.dumps(value).encode()
        self.write_head(status, "application/json", len(data), **headers)
        self.writer.write(data)

    async def event(self, value):
        data = f"data: {value if isinstance(value, str) else json.dumps(value, separators=(',', ':'))}\n\n".encode()
        self.writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        await self.writer.drain()

    async def chunk(self, delta, finish=None):
        model = self.body["model"]
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        await self.event({**envelope(model, [choice]), "object": "chat.completion.chunk", "usage": None})

    async def end_of_stream(self, finish="stop"):
        await self.chunk({}, finish)
        if (self.body.get("stream_options") or {}).get("include_usage"):
            await self.event({**envelope(self.body["model"], []), "object": "chat.completion.chunk", "usage": USAGE})
        await self.event("[DONE]")
        self.writer.write(b"0\r\n\r\n")

    async def until_hung_up(self, gap=None):
        """Gives an event every `gap` seconds, or nothing, until the client is gone."""
        waiting = asyncio.ensure_future(self.reader.read(1))
        try:
            while True:
                done, _ = await asyncio.wait([waiting], timeout=gap)
                if done:
                    SEEN["hung_up"].append({"model": self.body["model"], "at": time.monotonic()})
                    raise HungUp
                await self.chunk({"content": "more "})
        finally:
            waiting.cancel()

    # Scripts

    async def chat(self):
        if not self.body.get("stream"):
            message = {"role": "assistant", "content": "".join(WORDS), "refusal": None}
            return self.whole(message, "stop")
        self.write_head(200, "text/event-stream")
        await self.chunk({"role": "assistant", "content": ""})
        for word in WORDS:
            await self.chunk({"content": word})
        return await self.end_of_stream()

    def whole(self, message, finish):
        self.answer(envelope(self.body["model"], [{"index": 0, "message": message, "finish_reason": finish}], usage=USAGE))

    async def call_tools(self, calls):
        asked = [tool["function"]["name"] for tool in self.body.get("tools") or []]
        if any(name not in asked for _, name, _ in calls):
            return self.fail(400)
        if not self.body.get("stream"):
            told = [{"id": id, "type": "function", "function": {"name": name, "arguments": text}} for id, name, text in calls]
            return self.whole({"role": "assistant", "content": None, "tool_calls": told}, "tool_calls")
        self.write_head(200, "text/event-stream")
        await self.chunk({"role": "assistant", "content": None})
        for index, (id, name, _) in enumerate(calls):
            function = {"name": name, "arguments": ""}
            await self.chunk({"tool_calls": [{"index": index, "id": id, "type": "function", "function": function}]})
        for at in range(0, max(len(text) for _, _, text in calls), 5):
            for index, (_, _, text) in enumerate(calls):
                if piece := text[at:at + 5]:
                    await self.chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
        return await self.end_of_stream("tool_calls")

    async def structured(self):
        asked = self.body.get("response_format") or {}
        if asked.get("type") != "json_schema" or "population" not in asked["json_schema"]["schema"]["properties"]:
            return self.fail(400)
        if not self.body.get("stream"):
            return self.whole({"role": "assistant", "content": CITY, "refusal": None}, "stop")
        self.write_head(200, "text/event-stream")
        await self.chunk({"role": "assistant", "content": ""})
        for at in range(0, len(CITY), 7):
            await self.chunk({"content": CITY[at:at + 7]})
        return await self.end_of_stream()

    def embed(self):
        texts = self.body["input"] if isinstance(self.body["input"], list) else [self.body["input"]]
        values = [embedding(number) for number in range(len(texts))]
        if self.body.get("encoding_format") == "base64":
            values = [base64.b64encode(struct.pack(f"<{len(value)}f", *value)).decode() for value in values]
        data = [{"object": "embedding", "index": index, "embedding": value} for index, value in enumerate(values)]
        usage = {"prompt_tokens": 5, "total_tokens": 5}
        self.answer({"object": "list", "data": data, "model": self.body["model"], "usage": usage})

    async def legacy(self):
        def choice(text, finish):
            return {"text": text, "index": 0, "logprobs": None, "finish_reason": finish}

        model = self.body["model"]
        if not self.body.get("stream"):
            whole = {**envelope(model, [choice("".join(WORDS), "stop")]), "object": "text_completion", "usage": USAGE}
            return self.answer(whole)
        self.write_head(200, "text/event-stream")
        for word in WORDS:
            await self.event({**envelope(model, [choice(word, None)]), "object": "text_completion"})
        await self.event({**envelope(model, [choice("", "stop")]), "object": "text_completion"})
        await self.event("[DONE]")
        return self.writer.write(b"0\r\n\r\n")

    async def generate(self):
        """Gemini's format, whose model stands in the path."""
        model, method = self.path.removeprefix("/v1beta/models/").split(":")
        SEEN["requests"].append({"model": model, "path": self.path, "headers": self.headers, "body": self.body})
        _, name, text = CALLS[0]
        part = {"functionCall": {"name": name, "args": json.loads(text)}} if model == "tools" else {"text": "".join(WORDS)}
        usage = {"promptTokenCount": 11, "candidatesTokenCount": 7, "totalTokenCount": 18}
        candidate = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}
        told = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": model, "responseId": "scripted"}
        if not method.startswith("stream"):
            return self.answer(told)
        self.write_head(200, "text/event-stream")
        await self.event(told)
        return self.writer.write(b"0\r\n\r\n")

    def fail(self, status):
        key = self.headers.get("authorization", "none").removeprefix("Bearer ")
        error = {**ERRORS[status], "message": ERRORS[status]["message"].replace("{key}", key)}
        headers = {"retry_after": 7} if status == 429 else {}
        self.answer({"error": error}, status, **headers)

    async def break_off(self, how):
        self.write_head(200, "text/event-stream")
        if how == "first":
            await self.event({"error": {**ERRORS[503], "type": "overloaded_error", "code": "server_is_overloaded"}})
        else:
            await self.chunk({"role": "assistant", "content": ""})
            await self.chunk({"content": "Half an"})
            if how == "error":
                await self.event({"error": ERRORS[500]})
        raise HungUp

    async def run(self):
        if self.path == "/seen":
            return self.answer(SEEN)
        if self.path == "/v1/models":
            return self.answer({"object": "list", "data": [{"id": "chat", "object": "model", "created": 1, "owned_by": "scripted"}]})
        if self.path.startswith("/v1beta/"):
            return await self.generate()
        model = self.body.get("model", "")
        SEEN["requests"].append({"model": model, "path": self.path, "headers": self.headers, "body": self.body})
        if model.startswith("fails-") and model != "fails-event":
            return self.fail(int(model.removeprefix("fails-")))
        if self.path == "/v1/messages/count_tokens":
            return self.answer({"input_tokens": 2095})
        if self.path == "/v1/embeddings":
            return self.embed()
        if self.path == "/v1/completions":
            return await self.legacy()
        if model in ("endless", "silent"):
            if model == "endless":
                self.write_head(200, "text/event-stream")
            return await self.until_hung_up(0.02 if model == "endless" else None)
        scripts = {
            "tools": lambda: self.call_tools(CALLS[:1]),
            "parallel-tools": lambda: self.call_tools(CALLS),
            "structured": self.structured,
            "fails-event": lambda: self.break_off("first"),
            "error-event": lambda: self.break_off("error"),
            "cut": lambda: self.break_off("silently"),
        }
        return await scripts.get(model, self.chat)()


async def connection(reader, writer):
    try:
        while True:
            exchange = Exchange(reader, writer)
            await exchange.read_request()
            await exchange.run()
            await writer.drain()
    except (HungUp, asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main(port):
    server = await asyncio.start_server(connection, "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
    except KeyboardInterrupt:
        pass
