#!/usr/bin/env python3
"""Writes contract.json: the paths that tollgate serves, out of the API description that OpenAI's own SDK tests run against.

    tests/api_resources/extract.py openapi.transformed.yml

Needs PyYAML. What only explains (descriptions, examples of requests, vendor extensions) is left out. One thing is added, which the description
leaves out: completions can be streamed. The mock would answer a call for a stream whole, which a gateway must take for a fault.
"""

import json
import pathlib
import sys

import yaml

PATHS = ["/chat/completions", "/completions", "/embeddings", "/models", "/models/{model}", "/responses"]
EXPLAINS = {"description", "summary", "externalDocs", "x-oaiMeta", "x-code-samples"}


def without_words(value, is_map_of_names=False):
    """The document without what only explains; a property may bear the name of a keyword."""
    if isinstance(value, list):
        return [without_words(each) for each in value]
    if not isinstance(value, dict):
        return value
    kept = {}
    for name, inner in value.items():
        if is_map_of_names or name not in EXPLAINS:
            is_literal = not is_map_of_names and name in ("enum", "const", "required", "default", "example", "examples")
            kept[name] = inner if is_literal else without_words(inner, not is_map_of_names and name in ("properties", "$defs", "responses"))
            # A response must say something of itself.
            if name == "responses" and not is_map_of_names:
                for response in kept[name].values():
                    response.setdefault("description", "")
    return kept


def references(value):
    if isinstance(value, list):
        for each in value:
            yield from references(each)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name == "$ref" and isinstance(inner, str):
                yield inner
            else:
                yield from references(inner)


def main():
    whole = yaml.load(pathlib.Path(sys.argv[1]).read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    paths = {path: without_words(whole["paths"][path]) for path in PATHS}
    answer = paths["/completions"]["post"]["responses"]["200"]["content"]
    answer["text/event-stream"] = answer["application/json"]
    components, wanted = {}, list(references(paths))
    while wanted:
        _, _, kind, name = wanted.pop().split("/", 3)
        if name not in components.setdefault(kind, {}):
            components[kind][name] = without_words(whole["components"][kind][name])
            wanted += references(components[kind][name])
    about = {name: whole[name] for name in ("openapi", "servers", "security") if name in whole}
    info = {name: whole["info"][name] for name in ("title", "version")}
    components["securitySchemes"] = whole["components"].get("securitySchemes", {})
    document = {**about, "info": info, "paths": paths, "components": {kind: dict(sorted(components[kind].items())) for kind in sorted(components)}}
    pathlib.Path(__file__).with_name("contract.json").write_text(json.dumps(document, indent=0, separators=(",", ":"), ensure_ascii=False) + "\n")


main()
