"""200 requests, half of them streamed, while the first provider is killed and started again; prints counts as JSON."""

import asyncio
import collections
import json
import os
import sys
import urllib.request

import openai

REQUESTS, AT_ONCE, TOKENS = 200, 4, 12
KILL_AFTER = {30, 80, 130}


def control(word):
    """Tells the script that started us, which owns the servers."""
    print(word, flush=True)
    sys.stdin.readline()


async def one(client, number, counts):
    ask = [{"role": "user", "content": f"Count on from {number}."}]
    streamed = number % 2 == 1
    more = {"stream": True, "stream_options": {"include_usage": True}} if streamed else {}
    content, finish, tokens = "", None, None
    try:
        raw = await client.chat.completions.with_raw_response.create(model="auto", messages=ask, max_tokens=TOKENS, temperature=0, **more)
        target = raw.headers["x-tollgate-target"]
        if streamed:
            async for chunk in raw.parse():
                tokens = chunk.usage.completion_tokens if chunk.usage else tokens
                for choice in chunk.choices:
                    content += choice.delta.content or ""
                    finish = choice.finish_reason or finish
        else:
            answer = raw.parse()
            content, finish = answer.choices[0].message.content, answer.choices[0].finish_reason
            tokens = answer.usage.completion_tokens
    except openai.APIError as error:
        if content and finish is None:
            counts["cut after commit, told as an error"] += 1
        else:
            counts["FAILED"] += 1
            print(f"failed: {number}: {error!r}", file=sys.stderr)
        return
    if finish == "stop" or (finish == "length" and tokens == TOKENS):
        counts[f"whole answers of {target}"] += 1
        if int(raw.headers["x-tollgate-attempts"]) > 1:
            counts["of these after a fallback"] += 1
    else:
        counts["CUT, BUT LOOKS COMPLETE"] += 1


async def main():
    counts, ended, killing = collections.Counter(), 0, asyncio.Lock()
    client = openai.AsyncOpenAI(base_url=os.environ["BASE_URL"], api_key="none", max_retries=0, timeout=120)
    numbers = iter(range(REQUESTS))

    async def worker():
        nonlocal ended
        for number in numbers:
            await one(client, number, counts)
            ended += 1
            if ended in KILL_AFTER:
                async with killing:
                    counts["kills"] += 1
                    await asyncio.to_thread(control, "kill")

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    with urllib.request.urlopen(os.environ["ADMIN_URL"] + "/metrics") as answer:
        lines = [line for line in answer.read().decode().splitlines() if line.startswith("tollgate_attempts_total")]
    print(json.dumps({"counts": dict(sorted(counts.items())), "attempts": lines}), flush=True)
    sys.exit(1 if counts["FAILED"] or counts["CUT, BUT LOOKS COMPLETE"] else 0)


asyncio.run(main())
