#!/usr/bin/env python3
"""Writes schemas.json: the answers of the OpenAI API that tollgate gives too, out of the public OpenAPI description.

    tests/openapi/extract.py openapi.yaml

Needs PyYAML. What only explains (descriptions, examples, vendor extensions) is left out; nothing else is changed.
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from description import read, references, without_words  # noqa: E402

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


def only_explains(name):
    return name in EXPLAINS or name.startswith("x-")


def main():
    schemas = read(sys.argv[1])["components"]["schemas"]
    wanted, found = list(ROOTS), {}
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = without_words(schemas[name], only_explains)
            # The targets of a discriminator are alternatives as well, so they are there already.
            wanted += (place.removeprefix(PLACE) for place in references(found[name], passed_over=("discriminator",)))
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(found[name], separators=(',', ':'))}" for name in sorted(found))
    (HERE / "schemas.json").write_text(f'{{"components": {{"schemas": {{\n{lines}\n}}}}}}\n')


main()
