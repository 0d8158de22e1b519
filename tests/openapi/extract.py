#!/usr/bin/env python3
"""Writes schemas.json: the answers of the OpenAI API that tollgate gives too, out of the public OpenAPI description.

    tests/openapi/extract.py openapi.yaml

Needs PyYAML. What only explains (descriptions, examples, vendor extensions) is left out; nothing else is changed.
"""

import json
import pathlib
import sys

import yaml

ROOTS = [
    "CreateChatCompletionResponse",
    "CreateChatCompletionStreamResponse",
    "CreateCompletionResponse",
    "CreateEmbeddingResponse",
    "ErrorResponse",
    "ListModelsResponse",
    "Model",
    "Response",
    "ResponseStreamEvent",
]
PLACE = "#/components/schemas/"
EXPLAINS = {"description", "title", "example", "examples", "default", "externalDocs", "deprecated"}


def without_words(value, is_map_of_names=False):
    """The schema without what only explains; a property may bear the name of a keyword."""
    if isinstance(value, list):
        return [without_words(each) for each in value]
    if not isinstance(value, dict):
        return value
    kept = {}
    for name, inner in value.items():
        if not is_map_of_names and (name in EXPLAINS or name.startswith("x-")):
            continue
        is_literal = not is_map_of_names and name in ("enum", "const", "required")
        kept[name] = inner if is_literal else without_words(inner, not is_map_of_names and name in ("properties", "$defs"))
    return kept


def names_in(value):
    if isinstance(value, list):
        for each in value:
            yield from names_in(each)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name == "$ref" and isinstance(inner, str):
                yield inner.removeprefix(PLACE)
            # The targets of a discriminator are alternatives as well, so they are there already.
            elif name != "discriminator":
                yield from names_in(inner)


def main():
    schemas = yaml.load(pathlib.Path(sys.argv[1]).read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["components"]["schemas"]
    wanted, found = list(ROOTS), {}
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = without_words(schemas[name])
            wanted += names_in(found[name])
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(found[name], separators=(',', ':'))}" for name in sorted(found))
    pathlib.Path(__file__).with_name("schemas.json").write_text(f'{{"components": {{"schemas": {{\n{lines}\n}}}}}}\n')


main()
