"""Fits the weights of src/tokens/weights.rs. README.md beside this says what it needs and how it is called."""

import base64
import glob
import gzip
import html
import json
import os
import random
import re
import subprocess
import sys

import numpy
from mistral_common.tokens.tokenizers.tekken import Tekkenizer
from scipy.optimize import nnls
from tokenizers import Tokenizer

# Packages of Debian whose texts are read, by kind of text; installed or unpacked below one folder.
PAGES = {
    "chinese": ["debian-reference-zh-cn", "debian-edu-doc-zh-cn", "debian-faq-zh-cn", "kicad-doc-zh", "manpages-zh"],
    "japanese": ["debian-reference-ja", "debian-edu-doc-ja", "debian-faq-ja", "kicad-doc-ja", "manpages-ja"],
    "russian": ["debian-faq-ru", "kicad-doc-ru", "manpages-ru"],
    "english": ["debian-reference-en", "manpages"],
}
GUIDES = {"chinese": ["zh_CN"], "japanese": ["ja"], "russian": ["ru"], "english": ["en"]}
GUIDES |= {language: [language] for language in ["de", "es", "fr", "it", "pt", "ko", "el", "vi", "cs"]}
SAYINGS = {"chinese": "zh", "russian": "ru", "english": "", "de": "de", "es": "es"}
CODE = {"rs": 140, "py": 140, "js": 80, "h": 60, "sh": 35, "ts": 35, "pm": 35, "toml": 35}
# What each kind of text weighs together, however many there are of it.
WEIGHT = {"chinese": 1, "japanese": 1, "russian": 1, "english": 1.5, "code": 1.5, "json": 1, "json, minified": 1, "base64": 0.6}
OTHERS = 0.25
NAMES = ["O200K", "CL100K", "CLAUDE", "DEEPSEEK", "GEMINI", "LLAMA", "MISTRAL", "QWEN"]

chance = random.Random(11)


def read(path):
    try:
        return (gzip.open(path) if path.endswith(".gz") else open(path, "rb")).read().decode()
    except (OSError, UnicodeDecodeError):
        return ""


def found(*patterns):
    return sorted({path for pattern in patterns for path in glob.glob(pattern, recursive=True) if os.path.isfile(path)})


def of_page(text):
    text = html.unescape(re.sub(r"<[^>]+>", "", re.sub(r"(?is)<(script|style|head).*?</\1>", "", text)))
    return re.sub(r"\n{3,}", "\n\n", re.sub(r" ?\n ?", "\n", re.sub(r"[ \t]+", " ", text)))


def of_manual(text):
    lines = [re.sub(r"^[.'][A-Za-z\"\\]+ ?", "", line) if line[:1] in (".", "'") else line for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"\\f[A-Z]|\\f\(..|\\-|\\&|\\[a-z]", "", "\n".join(lines)))


def pieces(texts, count, least=150, most=2500):
    """So many pieces from random places, each beginning behind a line or a sentence."""
    texts = [text for text in texts if len(text.encode()) > least]
    taken = []
    for _ in range(count if texts else 0):
        text = chance.choices(texts, [len(text) ** 0.5 for text in texts])[0]
        length = max(30, int(least * (most / least) ** chance.random() / (len(text.encode()) / len(text))))
        start = chance.randrange(max(1, len(text) - length))
        edge = re.search(r"[\n。.!?！？] ?", text[start : start + 300])
        start += edge.end() if edge else 0
        taken.append(text[start : start + length])
    return [piece for piece in taken if len(piece.encode()) >= least * 0.7]


def sayings(folder, count):
    """Sayings, the short ones and some others joined."""
    paths = [path for path in found(f"{folder}/*") if not path.endswith((".dat", ".u8"))]
    left = [saying for path in paths for saying in re.split(r"\n%+\n", re.sub(r"\x1b\[[0-9;]*m", "", read(path)))]
    chance.shuffle(left)
    joined = []
    while left and len(joined) < count:
        one = left.pop()
        while left and (len(one.encode()) < 150 or chance.random() < 0.3):
            one += "\n\n" + left.pop()
        joined.append(one[:1500])
    return joined


def corpus(docs, sources):
    rows = []
    for kind in GUIDES:
        pages = [of_page(read(path)) for package in PAGES.get(kind, []) for path in found(f"{docs}/usr/share/doc/{package}/**/*.html")]
        pages += [of_page(read(path)) for path in found(*(f"{docs}/usr/share/doc/kicad/help/{g[:2]}/*.html" for g in GUIDES[kind]))]
        pages += [of_page(read(path)) for guide in GUIDES[kind] for path in found(f"{docs}/usr/share/doc/installation-guide-amd64/{guide}/*.html")]
        manuals = found(*(f"{docs}/usr/share/man/{guide}/**/*.gz" for guide in GUIDES[kind])) if kind in PAGES else []
        count = 500 if kind in ("chinese", "japanese") else 400 if kind in PAGES else 60
        rows += [(kind, text) for text in pieces(pages + [of_manual(read(path)) for path in manuals], count)]
        if kind in SAYINGS:
            # Poems are all that there is in Chinese.
            rows += [(kind, text) for text in sayings(f"{docs}/usr/share/games/fortunes/{SAYINGS[kind]}", 100 if kind == "chinese" else count)]
    for extension, count in CODE.items():
        paths = [path for path in found(f"{sources}/**/*.{extension}") if ".min." not in path]
        chance.shuffle(paths)
        texts = [read(path) for path in paths[:150]]
        rows += [("code", text) for text in pieces([text for text in texts if 200 < len(text) < 200_000], count, 300, 3000)]
    indented, minified = [], []
    paths = found(f"{sources}/**/*.json")
    chance.shuffle(paths)
    for path in paths:
        try:
            value = json.loads(read(path)) if 300 < os.path.getsize(path) < 400_000 else None
        except ValueError:
            value = None
        if value and len(indented) < 300:
            indented.append(json.dumps(value, indent=2, ensure_ascii=False))
            minified.append(json.dumps(value, separators=(",", ":"), ensure_ascii=False))
    rows += [("json", text) for text in pieces(indented, 250, 300, 3000)] + [("json, minified", text) for text in pieces(minified, 250, 300, 3000)]
    for number in range(120):
        text = base64.b64encode(chance.randbytes(chance.randrange(150, 1500))).decode()
        rows.append(("base64", "\n".join(text[at : at + 76] for at in range(0, len(text), 76)) if number % 4 == 0 else text))
    return rows


def counts(texts):
    """What the estimator counts of each text, told by the estimator itself."""
    path = "/tmp/tollgate-texts.jsonl"
    with open(path, "w") as file:
        file.writelines(json.dumps(text) + "\n" for text in texts)
    command = ["cargo", "test", "--lib", "tokens::tests::what_texts_are_made_of", "--", "--ignored"]
    subprocess.run(command, check=True, env=os.environ | {"TOLLGATE_TEXTS": path}, stdout=subprocess.DEVNULL)
    return numpy.array([json.loads(line) for line in open(path + ".counts")], float)


def exactly(path, texts):
    """How many tokens each text is."""
    if "config" in json.load(open(path)):
        tekken = Tekkenizer.from_file(path)
        return [len(tekken.encode(text, bos=False, eos=False)) for text in texts]
    return [len(one.ids) for one in Tokenizer.from_file(path).encode_batch(texts, add_special_tokens=False)]


def fit(kinds, made_of, exact):
    """Weights by least absolute relative error: least squares, weighed anew by what is left."""
    weight = numpy.array([WEIGHT.get(kind, OTHERS) / kinds.count(kind) for kind in kinds])
    parts, again = made_of / exact[:, None], numpy.ones(len(exact))
    for _ in range(30):
        root = numpy.sqrt(weight * again)
        weights, _ = nnls(parts * root[:, None], root)
        again = 1 / numpy.maximum(abs(parts @ weights - 1), 0.01)
    return weights


def main():
    docs, sources, vocabularies = sys.argv[1:]
    rows = corpus(docs, sources)
    made_of = counts([text for _, text in rows])
    for name in NAMES:
        path = f"{vocabularies}/{name.lower()}.json"
        if not os.path.exists(path):
            print(f"    // {name}: there is no {path}")
            continue
        exact = numpy.array(exactly(path, [text for _, text in rows]), float)
        enough = exact >= 20
        kinds = [kind for (kind, _), is_enough in zip(rows, enough) if is_enough]
        weights = fit(kinds, made_of[enough], exact[enough])
        print(f"    pub(super) static {name}: Weights = [{', '.join(str(round(weight * 1000)) for weight in weights)}];")


if __name__ == "__main__":
    main()
