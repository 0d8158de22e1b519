#!/usr/bin/env python3
"""Writes contract.json: the paths that tollgate serves, out of the API description that OpenAI's own SDK tests run against.

    tests/api_resources/extract.py openapi.transformed.yml

Needs PyYAML. What only explains (descriptions, examples of requests, vendor extensions) is left out. One thing is added, which the description
leaves out: completions can be streamed. The mock would answer a call for a stream whole, which a gateway must take for a fault.
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from description import read, references, without_words  # noqa: E402

PATHS = ["/chat/completions", "/completions", "/embeddings", "/models", "/models/{model}", "/responses"]
EXPLAINS = {"description", "summary", "externalDocs", "x-oaiMeta", "x-code-samples"}


def trimmed(part):
    return with_descriptions(without_words(part, EXPLAINS.__contains__))


def with_descriptions(value):
    """A response must say something of itself."""
    for method in value.values() if isinstance(value, dict) else []:
        for response in method.get("responses", {}).values() if isinstance(method, dict) else []:
            response.setdefault("description", "")
    return value


def main():
    whole = read(sys.argv[1])
    paths = {path: trimmed(whole["paths"][path]) for path in PATHS}
    answer = paths["/completions"]["post"]["responses"]["200"]["content"]
    answer["text/event-stream"] = answer["application/json"]
    components, wanted = {}, list(references(paths))
    while wanted:
        _, _, kind, name = wanted.pop().split("/", 3)
        if name not in components.setdefault(kind, {}):
            components[kind][name] = trimmed(whole["components"][kind][name])
            wanted += references(components[kind][name])
    about = {name: whole[name] for name in ("openapi", "servers", "security") if name in whole}
    info = {name: whole["info"][name] for name in ("title", "version")}
    components["securitySchemes"] = whole["components"].get("securitySchemes", {})
    document = {**about, "info": info, "paths": paths, "components": {kind: dict(sorted(components[kind].items())) for kind in sorted(components)}}
    (HERE / "contract.json").write_text(json.dumps(document, indent=0, separators=(",", ":"), ensure_ascii=False) + "\n")


main()
