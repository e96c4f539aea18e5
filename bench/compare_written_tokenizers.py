#!/usr/bin/env python3
"""Holds the tokenizers that `sluice convert model.gguf DIRECTORY` writes against the packages that read them: equal ids and texts on
the odd documents of tokenizer_cases.py and the inputs of tests/data/tokenizers/golden.json.

usage: SLUICE_TEST_DATA=... python bench/compare_written_tokenizers.py --sluice BUILD/sluice --bench BUILD/bench/tokenizer_bench
           [--case NAME ...]

Needs what compare_tokenizers.py needs, and the package gguf. A case is a GGUF file with hardly a weight: made-up vocabularies of byte-level
BPE with each pre-tokenizer name that Sluice knows, and the vocabularies of llama.cpp's test data (BERT's too), T5 and stories260K. The tokenizer.json is
read by the package tokenizers, the tokenizer.model by sentencepiece. Exits with 1 where anything differs.
"""
import argparse
import base64
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np
import sentencepiece
from tokenizers import Tokenizer

import compare_tokenizers
import tokenizer_cases as cases

NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
GOLDEN = Path(__file__).resolve().parent.parent / "tests/data/tokenizers/golden.json"


def byte_level():
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(b) if b in printable else chr(next(others)) for b in range(256)]


def write_model(path, vocabulary):
    """A Llama of one layer with nothing in it; `vocabulary` adds the tokenizer and says how many tokens it has."""
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(32)
    writer.add_head_count(1)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(32)
    rows = vocabulary(writer)
    shapes = {"token_embd.weight": (rows, 32), "output.weight": (rows, 32), "output_norm.weight": (32,), "blk.0.attn_norm.weight": (32,), "blk.0.ffn_norm.weight": (32,)}
    shapes |= {f"blk.0.{name}.weight": (32, 32) for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")}
    for name, shape in shapes.items():
        writer.add_tensor(name, np.ones(shape, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def made_up(pre):
    """Qwen2's first merges, and tokens that are found as they stand."""
    merges = [" ".join(m) for m in cases.merges_of(cases.DATA / "tokenizers/qwen2/merges.txt")[:6000]]
    tokens = byte_level() + [m.replace(" ", "") for m in merges]
    typed = [(t, NORMAL) for t in tokens] + [("[PAD0]", UNUSED), ("<s>", CONTROL), ("</s>", CONTROL), ("<|endoftext|>", CONTROL), ("<tool_call>", USER), ("o'clock", USER), ("  \n", USER)]

    def add(writer):
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(pre)
        writer.add_token_list([t for t, _ in typed])
        writer.add_token_types([k for _, k in typed])
        writer.add_token_merges(merges)
        writer.add_bos_token_id(len(tokens) + 1)
        writer.add_eos_token_id(len(tokens) + 2)
        writer.add_add_bos_token(True)
        return len(typed)
    return add


def of_file(path):
    reader = gguf.GGUFReader(path)

    def add(writer):
        for name, field in reader.fields.items():
            if name.startswith("tokenizer.ggml."):
                writer.add_key_value(name, field.contents(), field.types[0], field.types[1] if len(field.types) > 1 else None)
        return len(reader.fields["tokenizer.ggml.tokens"].data)
    return add


def of_sentencepiece(path):
    processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
    kinds = [(processor.is_unknown, UNKNOWN), (processor.is_control, CONTROL), (processor.is_byte, BYTE), (processor.is_unused, UNUSED)]

    def add(writer):
        ids = range(processor.vocab_size())
        writer.add_tokenizer_model("llama")
        writer.add_token_list([processor.id_to_piece(i) for i in ids])
        writer.add_token_scores([processor.get_score(i) for i in ids])
        writer.add_token_types([next((kind for holds, kind in kinds if holds(i)), NORMAL) for i in ids])
        writer.add_unk_token_id(processor.unk_id())
        writer.add_bos_token_id(processor.bos_id())
        writer.add_eos_token_id(processor.eos_id())
        return len(ids)
    return add


def of_unigram(path):
    document = json.loads(path.read_text())
    model, added = document["model"], {token["id"] for token in document["added_tokens"]}
    ids = {text: i for i, (text, _) in enumerate(model["vocab"])}

    def add(writer):
        writer.add_tokenizer_model("t5")
        writer.add_token_list([text for text, _ in model["vocab"]])
        writer.add_token_scores([score for _, score in model["vocab"]])
        writer.add_token_types([UNKNOWN if i == model["unk_id"] else CONTROL if i in added else NORMAL for i in range(len(ids))])
        writer.add_precompiled_charsmap(base64.b64decode(document["normalizer"]["precompiled_charsmap"]))
        writer.add_add_space_prefix(True)
        writer.add_remove_extra_whitespaces(True)
        writer.add_unk_token_id(model["unk_id"])
        writer.add_eos_token_id(ids["</s>"])
        writer.add_pad_token_id(ids["<pad>"])
        return len(ids)
    return add


def pre_names(sluice, folder):
    """The names of byte-level pre-tokenizers, as the error for another lists them."""
    path = folder / "odd.gguf"
    write_model(path, made_up("no-such-name"))
    said = subprocess.run([sluice, "convert", str(path), str(folder / "odd") + "/"], capture_output=True, text=True).stderr
    return re.search(r"pre-tokenizer 'no-such-name' \(known: ([^)]*)\)", said).group(1).split(", ")


def written(sluice, folder, name, vocabulary):
    """The case of a directory that convert wrote; None where it says that there is no form for it."""
    path, directory = folder / f"{name}.gguf", folder / name
    write_model(path, vocabulary)
    done = subprocess.run([sluice, "convert", str(path), str(directory) + "/"], capture_output=True, text=True)
    path.unlink()
    if done.returncode != 0:
        if "not written as a Hugging Face directory's" in done.stderr:
            return None
        sys.exit(f"{name}: {done.stderr}")
    if (directory / "tokenizer.model").exists():
        processor = sentencepiece.SentencePieceProcessor(model_file=str(directory / "tokenizer.model"))
        return cases.Case(name, directory, encode=lambda text, special: None if special else processor.encode(text), package="sentencepiece")
    return cases.Case(name, directory, Tokenizer.from_file(str(directory / "tokenizer.json")))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sluice", required=True)
    parser.add_argument("--bench", required=True)
    parser.add_argument("--case", nargs="*")
    options = parser.parse_args()
    texts = [("odd", cases.odd() + json.loads(GOLDEN.read_text())["inputs"], False)]
    failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        vocabularies = {name: made_up(name) for name in pre_names(options.sluice, folder)}
        for path in sorted((cases.DATA / "llama-cpp-vocab").glob("*.gguf")):
            vocabularies[path.stem] = of_file(path)
        vocabularies["tok512"] = of_sentencepiece(cases.DATA / "stories260K/tok512.model")
        vocabularies["mistral-v1"] = of_sentencepiece(cases.DATA / "tokenizers/mistral/tokenizer.model.v1")
        vocabularies["t5"] = of_unigram(cases.DATA / "tokenizers/t5/tokenizer.json")
        for name, vocabulary in vocabularies.items():
            if options.case and name not in options.case:
                continue
            case = written(options.sluice, folder, name, vocabulary)
            if case is None:
                print(name, "has no form", flush=True)
                continue
            compared, tokens, differ, as_text = compare_tokenizers.compare(options.bench, case, texts, temporary)
            failed += differ
            print(name, case.package, compared, tokens, differ, as_text, flush=True)
    print(f"{failed} differ")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
