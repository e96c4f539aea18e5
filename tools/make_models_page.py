#!/usr/bin/env python3
"""Writes docs/models.md from the catalog of families and from what the fidelity tests measured.

    build/release/tests/fidelity/fidelity_test --gtest_output=json:/tmp/fidelity.json
    build/release/tests/fidelity/encoder_test --gtest_output=json:/tmp/encoder.json
    python3 tools/make_models_page.py /tmp/fidelity.json /tmp/encoder.json > docs/models.md

A row per family of src/model/arch/: the names that files of it have, the layouts that were compared, and the largest difference of a
logit over 64 tokens (of encoders: of a hidden state, an embedding or a score) and all instruction sets that multiply in float32.
"""
import collections
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
HEAD = """# Models

Written by `tools/make_models_page.py` from the catalog (`src/model/arch/`) and a run of the fidelity tests; do not edit.

Each family is compared with its reference (transformers, or the authors' own formulation where transformers lacks it:
`tests/golden/fidelity/`) on small random models of its shape, whose logits have a standard deviation of at least 1: 64 positions, float32,
the same weights. The bound of the tests is 1e-4. GGUF files are those of another converter. A planted fault (rope base, epsilon, window,
activation, the family's own) moves the logits by more than 1e-2: each model's `golden.json` says by how much. Of encoders (bert, roberta,
modernbert) hidden states, embeddings and scores of two texts are compared; a GGUF of bert does not name its activation, and bert_cls has an
unusual one, so that its GGUF is held to 5e-3 and not listed.

GGUF: the names that are a family's own. Where there is none, its files call themselves by another's (Mistral's and Mixtral's llama, RoBERTa's
bert, GLM's chatglm), or no GGUF of it exists. A name without a figure: the converter cannot make that file, or the file cannot say all
that its model does. bitnet and relullama are what `convert` makes of trained checkpoints, and are held to their authors' recorded logits
(`tests/fidelity/trained_model_test.cpp`).

The last column: types that a family's matrices were encoded in (the K types need rows of 256, which most of these models lack), multiplied
from their blocks and held to what the blocks hold.

| family | config.json | GGUF | models compared | largest difference, Hugging Face | GGUF | quantized |
|---|---|---|---|---|---|---|
"""


def families():
    """name: (architectures, general.architecture), as *_arch() gives them."""
    found = {}
    for path in sorted((ROOT / "src/model/arch").glob("*.cpp")):
        for name, hf, gguf in re.findall(r'\w+_arch<\w+>\(\s*"([^"]+)",\s*\{([^}]*)\},\s*\{([^}]*)\}', path.read_text()):
            found[name] = (re.findall(r'"([^"]+)"', hf), re.findall(r'"([^"]+)"', gguf))
    return found


def quantized(paths):
    """folder: the types in which its matrices were encoded."""
    types = {}
    for suite in (suite for path in paths for suite in json.load(open(path))["testsuites"]):
        for case in suite["testsuite"]:
            match = re.search(r"StaysNearWhatItsBlocksHold/(.+)_hf$", case["name"])
            if match and not case.get("failures"):
                types[match.group(1)] = case["quantized_formats"].split(", ")
    return types


def measured(paths):
    """(folder, layout): largest difference."""
    largest = collections.defaultdict(float)
    for suite in (suite for path in paths for suite in json.load(open(path))["testsuites"]):
        for case in suite["testsuite"]:
            match = re.search(r"MatchesTheReference/(.+)_(hf|gguf)(?:_\w+)?$", case["name"])
            if not match or case.get("failures"):
                continue
            for key, value in case.items():
                if key.startswith("max_abs_diff_"):
                    largest[match.groups()] = max(largest[match.groups()], float(value))
    return largest


def main():
    largest, types = measured(sys.argv[1:]), quantized(sys.argv[1:])
    models = collections.defaultdict(list)
    for folder in sorted((ROOT / "tests/data").glob("f*i*/*/config.json")):
        arch = json.load(open(folder))["architectures"][0]
        models[arch].append(folder.parent.name)
    print(HEAD, end="")
    for name, (hf, gguf) in families().items():
        names = [m for arch in hf for m in models[arch]]
        of = {layout: [largest[m, layout] for m in names if (m, layout) in largest] for layout in ("hf", "gguf")}
        worst = {k: f"{max(v):.1e}" if v else "" for k, v in of.items()}
        packed = list(dict.fromkeys(t for m in names for t in types.get(m, []) if t not in ("f32", "f16", "bf16", "")))
        print(f"| {name} | {', '.join(hf)} | {', '.join(gguf) or 'none'} | {', '.join(names)} | {worst['hf']} | {worst['gguf']} | {', '.join(packed)} |")
    print("""
Weights of every kind are read by all of them: see `docs/howto/add-format.md` for the types, and `docs/adr/` for quantized checkpoints as
they are published (GPTQ, AWQ, compressed-tensors, bitsandbytes, FP8, MXFP4, BitNet).""")


if __name__ == "__main__":
    main()
