"""Takes out of an OpenAPI description what a test needs, for the scripts in the folders beside this file."""

import pathlib

import yaml

# Below these keywords stands data that means what it says, or a map whose keys are names and no keywords.
LITERALS = {"enum", "const", "required", "default", "example", "examples"}
MAPS = {"properties", "$defs", "responses"}


def read(path):
    return yaml.load(pathlib.Path(path).read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def without_words(value, only_explains, is_map_of_names=False):
    """The description without the keywords of which `only_explains` holds; a property may bear the name of a keyword."""
    if isinstance(value, list):
        return [without_words(each, only_explains) for each in value]
    if not isinstance(value, dict):
        return value
    if is_map_of_names:
        return {name: without_words(inner, only_explains) for name, inner in value.items()}
    return {
        name: inner if name in LITERALS else without_words(inner, only_explains, name in MAPS)
        for name, inner in value.items()
        if not only_explains(name)
    }


def references(value, passed_over=()):
    """Every `$ref` in it, but for those below the keywords that are passed over."""
    if isinstance(value, list):
        for each in value:
            yield from references(each, passed_over)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name == "$ref" and isinstance(inner, str):
                yield inner
            elif name not in passed_over:
                yield from references(inner, passed_over)
