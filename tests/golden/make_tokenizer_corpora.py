#!/usr/bin/env python3
"""What the packages make of whole corpora, of odd text and of megabytes in one line, as hashes of the ids.

Needs what bench/tokenizer_cases.py needs. Writes tests/data/tokenizers/corpora.json:
  texts   [{name, path, cut}]: files below SLUICE_TEST_DATA, read as UTF-8 with U+FFFD for what is not, cut into documents of so
          many characters, the first `limit` characters of each
  odd     documents as they stand
  units   what is repeated to a megabyte, for the text "long"
  cases   {name: {text: [tokens, hash of plain text, hash of trusted text, documents left out of the plain hash, documents on
          which the package fails]}}
The hash is FNV-1a of 64 bits, an id at a time, with 0xffffffff behind each document.
Documents in which the package finds control tokens in plain text, which Sluice does not, are left out of the plain hash.
"""
import json
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "bench"))
import tokenizer_cases as cases  # noqa: E402

OUT = HERE.parent / "data/tokenizers"
NAMES = {"gpt-neox", "t5", "qwen2", "llama3", "bert-vocab", "llama2", "mistral-v1", "mistral-v3", "tok512", "tok105", "unigram-sp",
         "unigram-sp-bytes", "tiktoken-r50k_base", "tiktoken-p50k_base", "tiktoken-cl100k_base", "tiktoken-o200k_base",
         "tiktoken-o200k_harmony", "rwkv-world"}
LIMIT, CUT = 200_000, 8_000


def fnv(documents):
    h = 0xcbf29ce484222325
    for ids in documents:
        for number in (*ids, 0xffffffff):
            h = (h ^ number) * 0x100000001b3 & 0xffffffffffffffff
    return f"{h:016x}"


def attempt(case, text, special):
    """None where the package fails: tiktoken's patterns run out of stack on a megabyte of white space."""
    try:
        return case.encode(text, special)
    except ValueError:
        return None


def corpora():
    for path in sorted(cases.DATA.glob("**/*")):
        name = str(path.relative_to(cases.DATA))
        if path.suffix in {".json", ".jsonl", ".jinja", ".txt", ".md", ".raw", ".tokens", ".csv", ".py", ".inp"} and path.is_file() \
                and not name.startswith(("tokenizers/", "traces/", "SOURCES")) or name == "tokenizers/golden/tokenizer_tests.json":
            text = path.read_bytes().decode("utf-8", "replace")[:LIMIT]
            yield name, [text[i:i + CUT] for i in range(0, len(text), CUT)]


def main():
    texts = list(corpora())
    out = {"limit": LIMIT, "cut": CUT, "texts": [name for name, _ in texts], "odd": cases.odd(), "units": cases.LONG_UNITS, "cases": {}}
    texts += [("odd", out["odd"]), ("long", cases.long_lines())]
    with tempfile.TemporaryDirectory() as folder:
        for generate in cases.ALL:
            for case in generate(folder):
                if case.name not in NAMES:
                    continue
                if case.name.startswith("unigram"):  # trained by the script: kept beside the hashes
                    (OUT / case.name).mkdir(exist_ok=True)
                    (OUT / case.name / "tokenizer.model").write_bytes((case.directory / "tokenizer.model").read_bytes())
                entry = out["cases"][case.name] = {}
                for name, documents in texts:
                    if case.name == "rwkv-world" and name == "long":
                        continue  # the definition in Python takes too long
                    plain = [attempt(case, text, False) for text in documents]
                    trusted = [attempt(case, text, True) for text in documents]
                    failed = [i for i, ids in enumerate(plain) if ids is None]
                    kept = [i for i, ids in enumerate(plain) if ids is not None and not case.control & set(ids)]
                    entry[name] = [sum(len(plain[i]) for i in kept), fnv([plain[i] for i in kept]),
                                   fnv([ids for ids in trusted if ids is not None]) if any(trusted) else "",
                                   [i for i in range(len(documents)) if i not in set(kept)], failed]
                print(case.name, sum(v[0] for v in entry.values()), "tokens", flush=True)
    with open(OUT / "corpora.json", "w") as f:
        head = {k: v for k, v in out.items() if k != "cases"}
        f.write(json.dumps(head)[:-1] + ',\n"cases": {\n')
        f.write(",\n".join(json.dumps(k) + ": " + json.dumps(v, separators=(",", ":")) for k, v in out["cases"].items()))
        f.write("}}\n")


if __name__ == "__main__":
    main()
