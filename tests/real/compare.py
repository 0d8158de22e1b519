"""The same calls made directly and through tollgate, by the Python SDK: equal, or an error."""

import os

import openai
import pydantic

DIRECT = openai.OpenAI(base_url=os.environ["DIRECT_URL"], api_key="none", max_retries=0, timeout=120)
GATEWAY = openai.OpenAI(base_url=os.environ["BASE_URL"], api_key="none", max_retries=0, timeout=120)
ASK = [{"role": "user", "content": "Name three rivers of Europe."}]
# One prompt gives one answer: no chance, and no leftovers of an earlier prompt.
FIXED = {"temperature": 0, "seed": 7, "extra_body": {"cache_prompt": False}}


class City(pydantic.BaseModel):
    city: str
    country: str


def essence(usage):
    return (usage.prompt_tokens, usage.total_tokens)


def chat(client, model):
    answer = client.chat.completions.create(model=model, messages=ASK, max_tokens=48, **FIXED)
    choice = answer.choices[0]
    return choice.message.content, choice.finish_reason, essence(answer.usage)


def stream(client, model):
    chunks = list(client.chat.completions.create(model=model, messages=ASK, max_tokens=48, stream=True, **FIXED))
    return [(choice.delta.content, choice.finish_reason) for chunk in chunks for choice in chunk.choices]


def stream_with_usage(client, model):
    options = {"include_usage": True}
    chunks = list(client.chat.completions.create(model=model, messages=ASK, max_tokens=16, stream=True, stream_options=options, **FIXED))
    return [essence(chunk.usage) for chunk in chunks if chunk.usage]


def structured(client, model):
    ask = [{"role": "user", "content": "Give me one city and its country as JSON."}]
    answer = client.chat.completions.parse(model=model, messages=ask, max_tokens=80, response_format=City, **FIXED)
    return answer.choices[0].message.parsed.model_dump()


def embeddings(client, model):
    answer = client.embeddings.create(model=model, input=["a river", "a mountain"])
    return [each.embedding for each in answer.data]


def float_embeddings(client, model):
    answer = client.embeddings.create(model=model, input=["a river", "a mountain"], encoding_format="float")
    return [each.embedding for each in answer.data]


def legacy(client, model):
    answer = client.completions.create(model=model, prompt="The river Rhine", max_tokens=16, **FIXED)
    return answer.choices[0].text, answer.choices[0].finish_reason


def main():
    for call in (chat, stream, stream_with_usage, structured, embeddings, float_embeddings, legacy):
        direct, through = call(DIRECT, "smollm2"), call(GATEWAY, "first/smollm2")
        assert direct == through, f"{call.__name__}\n direct: {direct}\nthrough: {through}"
        assert direct, call.__name__
        print(f"python: {call.__name__}: equal: {str(through)[:90]}", flush=True)
    direct, through = ([model.id for model in client.models.list()] for client in (DIRECT, GATEWAY))
    assert direct == ["smollm2"] and {"first/smollm2", "second/smollm2"} <= set(through), (direct, through)
    print(f"python: models: {through}", flush=True)


main()
